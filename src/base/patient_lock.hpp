// patient_lock: holds a lock if it can be had soon, for signal and terminate handlers, which may have
// interrupted its holder.
#pragma once

#include <cistern/detail/base/thread_annotations.hpp>

#include <sched.h>

namespace cistern::detail {

/// Takes the lock, if it is or becomes free within a while: long enough for whoever is at work under it on
/// another thread. Async-signal-safe where `Mutex` is.
template <class Mutex>
class patient_lock {
 public:
  // Not for clang's analysis: it can't follow a lock that may have been taken.
  explicit patient_lock(Mutex& lock) noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS : lock_(lock) {
    for (int tries = 0; tries < patience && !holds_; ++tries) {
      holds_ = lock.try_lock();
      if (!holds_) {
        ::sched_yield();
      }
    }
  }
  ~patient_lock() CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    if (holds_) {
      lock_.unlock();
    }
  }
  patient_lock(const patient_lock&) = delete;
  patient_lock& operator=(const patient_lock&) = delete;

  [[nodiscard]] bool holds() const noexcept { return holds_; }

 private:
  static constexpr int patience = 1'000;

  Mutex& lock_;
  bool holds_ = false;
};

}  // namespace cistern::detail
