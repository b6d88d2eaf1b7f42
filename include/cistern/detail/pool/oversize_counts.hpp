// oversize_counts: how many blocks that no bucket serves are out, for one who counts and any who read.
#pragma once

#include <cistern/pool_statistics.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace cistern::detail {

/// Written by one thread at a time, read by any without a lock: an upstream that is being called, under the
/// lock of whoever counts, may ask for the pool's statistics. Relaxed: figures for people; a quiet moment is
/// ordered by whatever made it quiet.
class oversize_counts {
 public:
  void add(std::size_t bytes) noexcept {
    change(allocations_, 1);
    change(live_blocks_, 1);
    change(live_bytes_, bytes);
  }
  void remove(std::size_t bytes) noexcept {
    change(deallocations_, 1);
    change(live_blocks_, std::size_t{0} - 1);
    change(live_bytes_, std::size_t{0} - bytes);
  }
  /// What is out was taken away, not freed.
  void forget_live() noexcept {
    live_blocks_.store(0, std::memory_order_relaxed);
    live_bytes_.store(0, std::memory_order_relaxed);
  }

  [[nodiscard]] std::size_t live_blocks() const noexcept {
    return live_blocks_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] oversize_statistics read() const noexcept {
    return {.allocations = allocations_.load(std::memory_order_relaxed),
            .deallocations = deallocations_.load(std::memory_order_relaxed),
            .live_blocks = live_blocks(),
            .live_bytes = live_bytes_.load(std::memory_order_relaxed)};
  }

 private:
  template <class T>
  static void change(std::atomic<T>& number, std::type_identity_t<T> by) noexcept {
    number.store(number.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }

  std::atomic<std::uint64_t> allocations_{0};
  std::atomic<std::uint64_t> deallocations_{0};
  std::atomic<std::size_t> live_blocks_{0};
  std::atomic<std::size_t> live_bytes_{0};
};

}  // namespace cistern::detail
