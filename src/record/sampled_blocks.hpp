// sampled_blocks: the blocks whose frees are recorded where only some allocations are.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "zeroed_pages.hpp"

namespace cistern::detail {

/// A set of addresses of a fixed size, without locks: an address has four places, by its hash. Whoever asks
/// for one has got it from who put it in, so that all of it may be relaxed.
class sampled_blocks {
 public:
  constexpr sampled_blocks() noexcept = default;

  /// Empty. False if the system has no memory (errno says why).
  [[nodiscard]] bool begin() noexcept { return table_.begin(); }

  /// Precondition: it has begun.
  [[nodiscard]] bool contains(std::uintptr_t block) const noexcept {
    const std::size_t first = first_place(block);
    const auto is_at = [&](std::size_t place) {
      return table_->blocks[first + place].load(std::memory_order_relaxed) == block;
    };
    static_assert(places == 4);
    return is_at(0) || is_at(1) || is_at(2) || is_at(3);
  }
  /// False if there is no room for it. Nobody else has the block.
  [[nodiscard]] bool insert(std::uintptr_t block) noexcept;
  void erase(std::uintptr_t block) noexcept;

  static constexpr std::size_t most_blocks = std::size_t{1} << 16;

 private:
  static constexpr std::size_t places = 4;  // Of a cache line.
  struct block_table {
    std::array<std::atomic<std::uintptr_t>, most_blocks> blocks;  // 0: none.
  };

  [[nodiscard]] static std::size_t first_place(std::uintptr_t block) noexcept {
    // By the upper bits alone, blocks at some regular distances come to lie in few places.
    const std::uint64_t mixed = block * 0x9E3779B97F4A7C15U;
    return (mixed >> 48U ^ mixed >> 24U) & (most_blocks - places);
  }

  zeroed_pages<block_table> table_;
};

}  // namespace cistern::detail
