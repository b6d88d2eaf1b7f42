// free_block: how free blocks are linked, through their own first bytes.
#pragma once

#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/assert.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

#if CISTERN_ASAN
// Free blocks are poisoned whole, links included; only these functions may look inside.
#define CISTERN_READS_FREE_BLOCKS __attribute__((no_sanitize_address, noinline))
#else
#define CISTERN_READS_FREE_BLOCKS
#endif

namespace cistern::detail {

/// Says on stderr that a free block whose link was at `place` was written to, and aborts.
[[noreturn]] void overwritten_free_block(const void* place) noexcept;

class free_block;

/// A link between free blocks. In a checked build it is sealed with a checksum of itself and of its place, in
/// the upper bits that no address has: what a user writes to a block that he has given back, or beyond the
/// end of the one before it, is found when the link is next followed.
class free_link {
 public:
  [[nodiscard]] CISTERN_READS_FREE_BLOCKS free_block* get() const noexcept {
    if constexpr (checked_build) {
      const std::uint64_t link = reinterpret_cast<std::uint64_t>(stored_) & address_mask;
      if (stored_ != sealed(link)) [[unlikely]] {
        overwritten_free_block(this);
      }
      return reinterpret_cast<free_block*>(link);
    } else {
      return stored_;
    }
  }
  CISTERN_READS_FREE_BLOCKS void set(free_block* link) noexcept {
    stored_ = checked_build ? sealed(reinterpret_cast<std::uint64_t>(link)) : link;
  }

 private:
  static constexpr std::uint64_t address_mask = (std::uint64_t{1} << 48) - 1;

  [[nodiscard]] free_block* sealed(std::uint64_t link) const noexcept {
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15U;
    const std::uint64_t mixed = (link + reinterpret_cast<std::uint64_t>(this) * odd) * odd;
    return reinterpret_cast<free_block*>(link | (mixed & ~address_mask));
  }

  free_block* stored_;
};

/// A free block. `next` links the blocks of one list; `next_list` links lists and is used in the first block
/// of a list only (the smallest block has room for both).
class free_block {
 public:
  [[nodiscard]] free_block* next() const noexcept { return next_.get(); }
  void next(free_block* block) noexcept { next_.set(block); }
  [[nodiscard]] free_block* next_list() const noexcept { return next_list_.get(); }
  void next_list(free_block* block) noexcept { next_list_.set(block); }

  /// Turns memory of `bytes` (at least `smallest_block_bytes`) into a free block that links to `next`.
  static free_block* make(void* memory, [[maybe_unused]] std::size_t bytes, free_block* next) noexcept {
    // No constructor runs: the block is written by the accessor, which may do so while it is poisoned.
    auto* block = static_cast<free_block*>(memory);
    asan_poison(memory, bytes);
    block->next(next);
    return block;
  }

 private:
  free_link next_;
  free_link next_list_;
};

}  // namespace cistern::detail
