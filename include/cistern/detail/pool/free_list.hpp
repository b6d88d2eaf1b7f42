// free_block: how free blocks are linked, through their own first bytes.
#pragma once

#include <cistern/detail/base/asan.hpp>

#include <cstddef>
#include <new>

#if CISTERN_ASAN
// Free blocks are poisoned whole, links included; only these accessors may look inside.
#define CISTERN_READS_FREE_BLOCKS __attribute__((no_sanitize_address, noinline))
#else
#define CISTERN_READS_FREE_BLOCKS
#endif

namespace cistern::detail {

/// A free block. `next` links the blocks of one list; `next_list` links lists and is used in the first block
/// of a list only (the smallest block has room for both).
class free_block {
 public:
  [[nodiscard]] CISTERN_READS_FREE_BLOCKS free_block* next() const noexcept { return next_; }
  CISTERN_READS_FREE_BLOCKS void next(free_block* block) noexcept { next_ = block; }
  [[nodiscard]] CISTERN_READS_FREE_BLOCKS free_block* next_list() const noexcept { return next_list_; }
  CISTERN_READS_FREE_BLOCKS void next_list(free_block* block) noexcept { next_list_ = block; }

  /// Turns memory of `bytes` (at least `smallest_block_bytes`) into a free block that links to `next`.
  static free_block* make(void* memory, [[maybe_unused]] std::size_t bytes, free_block* next) noexcept {
    // No constructor runs: the block is written by the accessor, which may do so while it is poisoned.
    auto* block = static_cast<free_block*>(memory);
    asan_poison(memory, bytes);
    block->next(next);
    return block;
  }

 private:
  free_block* next_;
  free_block* next_list_;
};

}  // namespace cistern::detail
