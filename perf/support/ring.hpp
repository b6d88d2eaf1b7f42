// ring: a bounded queue from one thread to one other, cheap enough not to hide what is measured.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <utility>

namespace perf {

/// Single producer, single consumer. `begin_push`/`begin_pop` wait until there is a free/filled cell.
template <class Cell, std::size_t cells>
class ring {
 public:
  /// The next cell to fill. The cell is the consumer's after `end_push`.
  Cell& begin_push() noexcept {
    // Acquire pairs with end_pop's release: the consumer has finished with the cell before it is refilled.
    wait_until([this] { return pushed_ - popped_.load(std::memory_order_acquire) < cells; });
    return cells_[pushed_ % cells];
  }
  void end_push() noexcept {
    ++pushed_;
    // Release pairs with begin_pop's acquire: the cell's content is visible before its number is.
    published_.store(pushed_, std::memory_order_release);
  }

  /// The next filled cell. The cell is the producer's after `end_pop`.
  Cell& begin_pop() noexcept {
    wait_until([this] { return published_.load(std::memory_order_acquire) != taken_; });
    return cells_[taken_ % cells];
  }
  void end_pop() noexcept {
    ++taken_;
    popped_.store(taken_, std::memory_order_release);
  }

 private:
  template <class Condition>
  static void wait_until(Condition condition) noexcept {
    for (int spins = 0; !condition(); ++spins) {
      if (spins > 1000) std::this_thread::yield();  // the partner may need this core
    }
  }

  static constexpr std::size_t line_bytes = 64;
  std::array<Cell, cells> cells_{};
  alignas(line_bytes) std::atomic<std::size_t> published_ = 0;
  std::size_t pushed_ = 0;  // the producer's
  alignas(line_bytes) std::atomic<std::size_t> popped_ = 0;
  std::size_t taken_ = 0;  // the consumer's
};

}  // namespace perf
