// idle_stack: idle objects as a lock-free stack that can be switched off.
//
//   head:  | tag: 35 bits | shut: 1 bit | index of the top slot: 28 bits |
//
// Open: any thread pushes and pops by one compare-exchange of `head`. Shut: pushes and pops fail without
// changing anything, and whoever shut the stack, under the pool's mutex, owns all slots that were on it.
//
// Invariant: every change of `head` raises the tag, so that a compare-exchange succeeds only if nothing
// happened since the load before it (2^35 changes between the two are more than fifteen minutes of the
// fastest pool). A push therefore also knows that whatever it checked after loading `head` still held when it
// was done, if those who change what it checks shut the stack afterwards.
#pragma once

#include <cistern/detail/base/tsan.hpp>
#include <cistern/detail/objects/slot_table.hpp>

#include <atomic>
#include <cstdint>

namespace cistern::detail {

/// Tells the processor that this is a wait for another core.
inline void pause_briefly() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class idle_stack {
 public:
  explicit idle_stack(const slot_table& slots) noexcept : slots_(slots) {}

  /// The top slot, or null if the stack is empty or shut.
  [[nodiscard]] pool_slot* try_pop() noexcept {
    return try_pop_if([](std::uint32_t) { return true; });
  }

  /// The only slot; null if there are none or several, or if `older` has some, or either is shut. With
  /// `older` filled only by those who shut this stack meanwhile, what it returns was the oldest of both: the
  /// tag says that `older`, found empty, was so still.
  [[nodiscard]] pool_slot* try_pop_only(const idle_stack& older) noexcept {
    return try_pop_if([&](std::uint32_t next) { return next == 0 && older.open_and_empty(); });
  }

  /// Puts `slot` on top and returns true, unless the stack is shut, or `may_push(index of the top slot)`,
  /// called after loading the head, returns false. Once it is pushed, somebody else may have it.
  template <class Check>
  [[nodiscard]] bool try_push(pool_slot& slot, Check may_push) noexcept {
    // Acquire pairs with the release of reopening: what was changed under the mutex is seen by `may_push`.
    std::uint64_t head = head_.load(std::memory_order_acquire);
    for (unsigned pauses = first_pauses;; pauses = retreat(pauses)) {
      if (is_shut(head) || !may_push(index_of(head))) {
        return false;
      }
      slot.place->next_index.store(index_of(head), std::memory_order_relaxed);
      tsan_release(&head_);
      // Release pairs with the acquire of the pop and of close().
      if (head_.compare_exchange_weak(head, changed(head, slot.index), std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
        return true;
      }
    }
  }

  /// What `read(index of the top slot, or 0)` returned while that slot was the top. `read` ends with an
  /// acquire load of what is only stored, with release, by who has popped the slot: then the tag has changed
  /// for us, too.
  template <class Read>
  [[nodiscard]] auto read_top(Read read) const noexcept {
    std::uint64_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      const auto result = read(index_of(head));
      const std::uint64_t again = head_.load(std::memory_order_acquire);
      if (again == head) {
        return result;
      }
      head = again;
    }
  }
  [[nodiscard]] bool shut() const noexcept { return is_shut(head_.load(std::memory_order_relaxed)); }

  /// Shuts the stack; returns the index of its top slot, from which `next_index` leads down. Needs the mutex.
  [[nodiscard]] std::uint32_t close() noexcept {
    std::uint64_t head = head_.load(std::memory_order_relaxed);
    // Acquire: all slots' contents are ours now. Release: who sees this stack shut sees what the mutex's
    // owner shut before it.
    while (!head_.compare_exchange_weak(head, changed(head, 0) | shut_bit, std::memory_order_acq_rel,
                                        std::memory_order_relaxed)) {
    }
    tsan_acquire(&head_);
    return index_of(head);
  }

  /// Opens the shut stack with `top` on it. Needs the mutex.
  void open(std::uint32_t top) noexcept {
    tsan_release(&head_);
    // A plain store will do, since nobody changes the head of a shut stack. Release: see try_push and
    // try_pop.
    head_.store(changed(head_.load(std::memory_order_relaxed) & ~shut_bit, top), std::memory_order_release);
  }

 private:
  static constexpr unsigned index_bits = 28;
  static constexpr std::uint64_t shut_bit = std::uint64_t{1} << index_bits;
  static constexpr std::uint64_t tag_step = shut_bit << 1;
  static constexpr unsigned first_pauses = 32;
  static constexpr unsigned most_pauses = 256;

  static std::uint32_t index_of(std::uint64_t head) noexcept {
    return static_cast<std::uint32_t>(head & (shut_bit - 1));
  }
  static bool is_shut(std::uint64_t head) noexcept { return (head & shut_bit) != 0; }
  static std::uint64_t changed(std::uint64_t head, std::uint32_t index) noexcept {
    return ((head | (tag_step - 1)) + 1) | index;
  }
  /// Acquire: in try_pop_only the exchange of its own head must not move before this load.
  [[nodiscard]] bool open_and_empty() const noexcept {
    return (head_.load(std::memory_order_acquire) & (tag_step - 1)) == 0;
  }

  template <class Check>
  [[nodiscard]] pool_slot* try_pop_if(Check may_pop) noexcept {
    // Acquire pairs with the release of the push: the object is as the last user left it.
    std::uint64_t head = head_.load(std::memory_order_acquire);
    for (unsigned pauses = first_pauses;; pauses = retreat(pauses)) {
      const std::uint32_t index = index_of(head);
      if (index == 0 || is_shut(head)) {
        return nullptr;
      }
      const slot_place& place = slots_[index];
      // Both may be stale if another thread pops first; the tag makes the exchange fail then.
      const std::uint32_t next = place.next_index.load(std::memory_order_relaxed);
      pool_slot* const slot = place.slot.load(std::memory_order_relaxed);
      if (!may_pop(next)) {
        return nullptr;
      }
      if (head_.compare_exchange_weak(head, changed(head, next), std::memory_order_acquire)) {
        tsan_acquire(&head_);
        return slot;
      }
    }
  }

  /// After a lost race: lets the winner do several operations in its own cache before the line moves again.
  static unsigned retreat(unsigned pauses) noexcept {
    for (unsigned i = 0; i < pauses; ++i) {
      pause_briefly();
    }
    return pauses < most_pauses ? pauses * 2 : pauses;
  }

  alignas(64) std::atomic<std::uint64_t> head_{0};
  const slot_table& slots_;
};

}  // namespace cistern::detail
