// recorded_blocks: the blocks whose frees are recorded where only some allocations are.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "zeroed_pages.hpp"

namespace cistern::detail {

/// A set of addresses: a bit for every 8 bytes of the address space, in maps of a region each, which come to
/// be with the first block that is put in, and of whose pages those take memory that were touched: a 64th of
/// the memory that the blocks lie in, at most.
///
/// No locks, so that signal handlers may ask, too. Whoever asks for a block has got it from who put it in, so
/// that the bits may be relaxed.
class recorded_blocks {
 public:
  constexpr recorded_blocks() noexcept = default;

  /// Empty; before there are threads, or in the child of a fork. False if the system has no memory (errno
  /// says why).
  [[nodiscard]] bool begin() noexcept;

  /// Precondition: it has begun.
  [[nodiscard]] bool contains(std::uintptr_t block) const noexcept {
    const region_map* const map = map_of(block);
    return map != nullptr &&
           (map->words[word_of(block)].load(std::memory_order_relaxed) & bit_of(block)) != 0;
  }
  /// False if there is no memory for it. Nobody else has the block.
  [[nodiscard]] bool insert(std::uintptr_t block) noexcept;
  void erase(std::uintptr_t block) noexcept;

  static constexpr unsigned address_bits = 47;  ///< No block lies further up.

 private:
  static constexpr unsigned region_bits = 30;
  static constexpr unsigned granule_bits = 3;  // No two blocks begin in the same 8 bytes.
  static constexpr unsigned word_bits = 6;
  static constexpr std::size_t regions = std::size_t{1} << (address_bits - region_bits);

  static constexpr std::size_t map_words = std::size_t{1} << (region_bits - granule_bits - word_bits);

  struct region_map {
    std::array<std::atomic<std::uint64_t>, map_words> words;
  };
  struct region_table {
    std::array<std::atomic<region_map*>, regions> maps;
  };

  [[nodiscard]] region_map* map_of(std::uintptr_t block) const noexcept {
    const std::uintptr_t region = block >> region_bits;
    return region < regions ? table_->maps[region].load(std::memory_order_acquire) : nullptr;
  }
  [[nodiscard]] region_map* make_map(std::uintptr_t block) noexcept;
  [[nodiscard]] static std::size_t word_of(std::uintptr_t block) noexcept {
    constexpr std::uintptr_t mask = (std::uintptr_t{1} << region_bits) - 1;
    return (block & mask) >> (granule_bits + word_bits);
  }
  [[nodiscard]] static std::uint64_t bit_of(std::uintptr_t block) noexcept {
    return std::uint64_t{1} << (block >> granule_bits & 63U);
  }

  zeroed_pages<region_table> table_;
};

}  // namespace cistern::detail
