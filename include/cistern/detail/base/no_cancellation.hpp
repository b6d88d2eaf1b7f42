// no_cancellation: a scope in which pthread_cancel doesn't end the thread; what is asked for waits until
// after.
#pragma once

#include <pthread.h>

namespace cistern::detail {

/// For calls that must not be left half done, and for what runs in functions that can't be unwound. A request
/// that comes meanwhile is honoured at the next cancellation point behind the scope. Costs no system call.
class no_cancellation {
 public:
  no_cancellation() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state_before_); }
  ~no_cancellation() { ::pthread_setcancelstate(state_before_, nullptr); }
  no_cancellation(const no_cancellation&) = delete;
  no_cancellation& operator=(const no_cancellation&) = delete;

 private:
  int state_before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace cistern::detail
