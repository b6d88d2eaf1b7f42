// heap_guard: the heap's sampled guard: one allocation in N lies against a guard page.
#pragma once

#include <cistern/detail/base/guarded_slots.hpp>
#include <cistern/detail/base/sampler.hpp>

#include <atomic>
#include <cstddef>

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

  explicit heap_guard(std::size_t one_in) : turns_(one_in), blocks_(most_blocks) {}

  /// Says which request is for a guarded block.
  [[nodiscard]] sampler& turns() noexcept { return turns_; }
  [[nodiscard]] guarded_slots& blocks() noexcept { return blocks_; }

 private:
  static constinit std::atomic<heap_guard*> in_use_;

  sampler turns_;
  guarded_slots blocks_;
};

}  // namespace cistern::detail
