// reentrant_mutex: a lock that its holder may take again.
#pragma once

#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/thread_annotations.hpp>

#include <atomic>
#include <cstdint>

namespace cistern::detail {

/// For what calls out to code of the user's, which may call back. Meets the standard's Lockable. As `mutex`
/// in a fork: whoever holds it in the parent's forking thread holds it in the child.
class CISTERN_CAPABILITY("mutex") reentrant_mutex {
 public:
  void lock() noexcept CISTERN_ACQUIRE() CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    if (!is_mine()) {
      mutex_.lock();
      holder_.store(self(), std::memory_order_relaxed);
    }
    ++depth_;
  }

  [[nodiscard]] bool try_lock() noexcept CISTERN_TRY_ACQUIRE(true) CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    if (!is_mine()) {
      if (!mutex_.try_lock()) {
        return false;
      }
      holder_.store(self(), std::memory_order_relaxed);
    }
    ++depth_;
    return true;
  }

  void unlock() noexcept CISTERN_RELEASE() CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    if (--depth_ == 0) {
      holder_.store(0, std::memory_order_relaxed);
      mutex_.unlock();
    }
  }

 private:
  /// The address of something that every thread has its own of.
  [[nodiscard]] static std::uintptr_t self() noexcept;
  /// Relaxed: only this thread can have written its own name, and it has if it holds the lock.
  [[nodiscard]] bool is_mine() const noexcept { return holder_.load(std::memory_order_relaxed) == self(); }

  mutex mutex_;
  std::uint32_t depth_ = 0;  ///< Of the holder.
  std::atomic<std::uintptr_t> holder_{0};
};

}  // namespace cistern::detail
