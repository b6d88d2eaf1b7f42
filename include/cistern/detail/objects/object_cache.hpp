// object_cache: the idle objects that one thread keeps of one per-thread pool, and how others get at them.
//
// The owner comes without a lock, and without an atomic read-modify-write where the system offers asymmetric
// fences (Linux: membarrier):
//
//   owner                                    others, one at a time, under the pool's mutex
//     busy := 1                                claimed := 1
//     (compiler fence)                         fence in all threads of this process
//     if claimed: busy := 0, take the mutex    while busy: wait, or give up and claimed := 0
//     ... the slots are mine ...               ... the slots are mine ...
//     busy := 0                                claimed := 0
//
// Invariant: the slots are touched only by the owner with busy == 1 after reading claimed == 0, by the owner
// under the mutex, or by another under the mutex after reading busy == 0 past the fence. Of two stores
// followed by loads of the other's variable at least one side sees the other's, because the fence orders the
// owner's, too.
#pragma once

#include <cistern/detail/base/tsan.hpp>
#include <cistern/detail/objects/pool_slot.hpp>

#include <array>
#include <atomic>
#include <cstdint>

namespace cistern::detail {

/// Whether `fence_all_threads` works in this process; asked once.
[[nodiscard]] bool asymmetric_fences() noexcept;
/// A full fence in every running thread of this process. False if the system refuses.
[[nodiscard]] bool fence_all_threads() noexcept;

class alignas(64) object_cache {
 public:
  static constexpr std::uint32_t most_slots = 32;

  /// The owner's way in. False: claimed by another thread; take the mutex instead.
  [[nodiscard]] bool enter(bool asymmetric) noexcept {
    if (asymmetric) {
      busy_.store(1, std::memory_order_relaxed);
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      busy_.exchange(1, std::memory_order_seq_cst);
    }
    // Seq_cst for the symmetric case; acquire pairs with the release in unclaim.
    if (claimed_.load(std::memory_order_seq_cst) == 0) [[likely]] {
      tsan_acquire(&claimed_);
      return true;
    }
    leave();
    return false;
  }
  /// Release pairs with the acquire in claim: the claimant sees the slots as we leave them.
  void leave() noexcept {
    tsan_release(&busy_);
    busy_.store(0, std::memory_order_release);
  }

  /// For other threads, under the mutex. `try_claim` gives up if the owner doesn't leave soon; `claim` waits.
  [[nodiscard]] bool try_claim(bool asymmetric) noexcept;
  void claim(bool asymmetric) noexcept;
  void unclaim() noexcept {
    tsan_release(&claimed_);
    claimed_.store(0, std::memory_order_release);
  }
  /// In the child of a fork: the owner isn't there any more, wherever it was. Each of its steps left the
  /// slots whole.
  void forget_owner() noexcept { busy_.store(0, std::memory_order_relaxed); }

  /// All below by whoever holds the cache. An array and not a list through the slots: what one acquire stores
  /// the next one loads, and a list makes that twice as long a chain.
  [[nodiscard]] pool_slot* pop() noexcept {
    const std::uint32_t have = count();
    if (have == 0) [[unlikely]] {
      return nullptr;
    }
    set_count(have - 1);
    return slots_[have - 1];
  }
  void push(pool_slot& slot) noexcept {
    const std::uint32_t have = count();
    slots_[have] = &slot;
    set_count(have + 1);
  }
  /// Calls `visit(const pool_slot&)` for each.
  template <class Function>
  void for_each(Function&& visit) const {
    for (std::uint32_t i = 0; i < count(); ++i) {
      visit(static_cast<const pool_slot&>(*slots_[i]));
    }
  }
  /// Relaxed: others only use it as a hint.
  [[nodiscard]] std::uint32_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

  /// A time that was right a few acquires ago. The owner's alone.
  duration::rep recent_time = 0;

  object_cache* next = nullptr;       // all caches of the pool; guarded by its mutex
  object_cache* next_free = nullptr;  // those without an owner

 private:
  void set_count(std::uint32_t count) noexcept { count_.store(count, std::memory_order_relaxed); }
  [[nodiscard]] bool announce_claim(bool asymmetric) noexcept;

  std::atomic<std::uint32_t> busy_{0};
  std::atomic<std::uint32_t> claimed_{0};
  std::atomic<std::uint32_t> count_{0};
  std::array<pool_slot*, most_slots> slots_{};
};

}  // namespace cistern::detail
