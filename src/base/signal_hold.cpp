#include "signal_hold.hpp"

#include <cistern/detail/base/errno_keeper.hpp>

#include <ctime>

namespace cistern::detail {

signal_hold::signal_hold(int number) noexcept {
  sigemptyset(&held_);
  sigaddset(&held_, number);
  ::pthread_sigmask(SIG_BLOCK, &held_, &mask_before_);
  blocked_before_ = sigismember(&mask_before_, number) == 1;
  if (blocked_before_) {  // else a pending one would have been delivered
    sigset_t pending;
    sigpending(&pending);
    pending_before_ = sigismember(&pending, number) == 1;
  }
}

signal_hold::~signal_hold() {
  if (!blocked_before_) {
    ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  }
}

void signal_hold::take_own() const noexcept {
  if (pending_before_) {
    return;
  }
  // A write raises the signal for its own thread, whose signals are taken before those of the process.
  const errno_keeper error;
  const timespec at_once{};
  while (::sigtimedwait(&held_, nullptr, &at_once) < 0 && errno == EINTR) {
  }
}

}  // namespace cistern::detail
