// heap_guard: the heap's sampled guard: one allocation in N lies against a guard page.
#pragma once

#include <cistern/detail/base/guarded_slots.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// At most one, which is never destroyed. Thread-safe, but for `start`.
class heap_guard {
 public:
  /// How many blocks, live or freed, are guarded at a time. Two mappings each, of the 65,530 that a process
  /// may have.
  static constexpr std::size_t most_blocks = 1024;

  /// From now on one allocation in `one_in` is guarded. 0, or where the system refuses: there stays no guard.
  /// Once, by the thread that makes the heap; nothing may be asked of that meanwhile.
  static void start(std::size_t one_in) noexcept;

  /// Null where there is none.
  [[nodiscard]] static heap_guard* now() noexcept {
    // Acquire pairs with the release in `start`: guard and pool are seen as they were made.
    return in_use_.load(std::memory_order_acquire);
  }
  /// The one whose block it is, or was; null where it isn't a guarded one.
  [[nodiscard]] static heap_guard* of(const void* block) noexcept {
    heap_guard* const guard = now();
    return guard != nullptr && guard->blocks_.contains(block) ? guard : nullptr;
  }

  explicit heap_guard(std::size_t one_in);

  /// Whether an allocation is the one in N, which its thread has counted: from `left` down to 0, or below
  /// that where it is the thread's first. Sets `left` to how many there are until the next is to be asked
  /// for: from 1 to 2 N - 1, at random.
  [[nodiscard]] bool picks(std::int64_t& left) noexcept;
  [[nodiscard]] guarded_slots& blocks() noexcept { return blocks_; }

 private:
  static constexpr std::size_t rarest = std::size_t{1} << 61U;
  static constinit std::atomic<heap_guard*> in_use_;

  [[nodiscard]] std::int64_t random_up_to(std::int64_t most) noexcept;

  const std::int64_t one_in_;
  std::atomic<std::uint64_t> random_state_;  ///< Relaxed: another number for each thread is all it takes.
  guarded_slots blocks_;
};

}  // namespace cistern::detail
