// yielding_lock: a lock that needs nothing but the system.
#pragma once

#include <cistern/detail/base/mutex.hpp>

#include <atomic>

#include <sched.h>

namespace cistern::detail {

/// A lock for what takes some tens of nanoseconds. `mutex` sleeps by means of the C++ library, of which
/// nothing may be needed here.
class CISTERN_CAPABILITY("mutex") yielding_lock {
 public:
  void lock() noexcept CISTERN_ACQUIRE() CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    while (held_.exchange(true, std::memory_order_acquire)) ::sched_yield();
  }
  void unlock() noexcept CISTERN_RELEASE() CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    held_.store(false, std::memory_order_release);
  }

 private:
  std::atomic<bool> held_{false};
};

}  // namespace cistern::detail
