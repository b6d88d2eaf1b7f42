// mutex: a lock of four bytes that spins briefly before it sleeps; scoped_lock: holds a lock for a while.
#pragma once

#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/detail/base/tsan.hpp>

#include <atomic>
#include <cstdint>

namespace cistern::detail {

/// Small enough to sit in the cache line of what it guards; `std::mutex` takes 40 bytes and, uncontended, 1.4
/// times the time. Meets the standard's Lockable. A locked mutex may be unlocked by the child of a
/// fork.
///
/// States: free, held, held with sleepers. After U. Drepper, "Futexes Are Tricky", 2011, third mutex.
class CISTERN_CAPABILITY("mutex") mutex {
 public:
  void lock() noexcept CISTERN_ACQUIRE() CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    if (!take()) {
      lock_slow();
    }
    tsan_acquire(&state_);
  }

  [[nodiscard]] bool try_lock() noexcept CISTERN_TRY_ACQUIRE(true) CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    const bool taken = take();
    if (taken) {
      tsan_acquire(&state_);
    }
    return taken;
  }

  void unlock() noexcept CISTERN_RELEASE() CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    tsan_release(&state_);
    if (state_.exchange(free, std::memory_order_release) == held_with_sleepers) {
      state_.notify_one();
    }
  }

 private:
  static constexpr std::uint32_t free = 0;
  static constexpr std::uint32_t held = 1;
  static constexpr std::uint32_t held_with_sleepers = 2;

  [[nodiscard]] bool take() noexcept {
    std::uint32_t expected = free;
    // Acquire pairs with the release in `unlock`: what the last holder wrote is seen.
    return state_.compare_exchange_strong(expected, held, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }

  void lock_slow() noexcept;

  std::atomic<std::uint32_t> state_{free};
};

/// Holds a lock while it lives. As `std::lock_guard`, of which clang's analysis knows nothing in libstdc++.
template <class Mutex>
class CISTERN_SCOPED_CAPABILITY scoped_lock {
 public:
  explicit scoped_lock(Mutex& mutex) noexcept(noexcept(mutex.lock())) CISTERN_ACQUIRE(mutex) : mutex_(mutex) {
    mutex.lock();
  }
  ~scoped_lock() CISTERN_RELEASE() { mutex_.unlock(); }
  scoped_lock(const scoped_lock&) = delete;
  scoped_lock& operator=(const scoped_lock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace cistern::detail
