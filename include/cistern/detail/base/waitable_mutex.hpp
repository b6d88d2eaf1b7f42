// waitable_mutex: the standard's mutex, as clang's thread safety analysis knows it, and waiting under it.
#pragma once

#include <cistern/detail/base/thread_annotations.hpp>

#include <condition_variable>
#include <mutex>

namespace cistern::detail {

/// For what must be able to wait; otherwise `mutex` is smaller and faster.
class CISTERN_CAPABILITY("mutex") waitable_mutex {
 public:
  void lock() CISTERN_ACQUIRE() { mutex_.lock(); }
  [[nodiscard]] bool try_lock() noexcept CISTERN_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  void unlock() noexcept CISTERN_RELEASE() { mutex_.unlock(); }

  /// Waits for a call of `wake`, or for nothing. Without the lock meanwhile; afterwards it is held again.
  void wait(std::condition_variable& wake) CISTERN_REQUIRES(this) {
    borrowed lock(mutex_);
    wake.wait(lock.held);
  }
  /// The same, until `deadline` at the latest.
  template <class Time>
  void wait_until(std::condition_variable& wake, const Time& deadline) CISTERN_REQUIRES(this) {
    borrowed lock(mutex_);
    wake.wait_until(lock.held, deadline);
  }

 private:
  // What the standard's waiting wants to have, of a lock that is held before and after.
  struct borrowed {
    std::unique_lock<std::mutex> held;
    explicit borrowed(std::mutex& mutex) : held(mutex, std::adopt_lock) {}
    borrowed(const borrowed&) = delete;
    borrowed& operator=(const borrowed&) = delete;
    ~borrowed() { (void)held.release(); }
  };

  std::mutex mutex_;
};

}  // namespace cistern::detail
