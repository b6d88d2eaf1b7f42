// large_blocks: what is too large, or too widely aligned, for the heap's pool, or has grown: a mapping of its
// own each.
#pragma once

#include <cstddef>

namespace cistern::detail {

/// The length stands on a page before the block. In a hardened build a block lies between guards
/// (`heap_guard_bytes`), and what was freed stays closed for a while. Blocks read as zero when they are new.
/// All thread-safe, and O(1) but for the system.
namespace large_blocks {

/// Null where the system refuses. `alignment` a power of two.
[[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment) noexcept;
void deallocate(void* block) noexcept;

/// Grows or shrinks without a copy, in place or elsewhere; keeps up to an eighth more than is asked for.
/// Null, and nothing changed, where the system refuses.
[[nodiscard]] void* reallocate(void* block, std::size_t bytes) noexcept;
[[nodiscard]] std::size_t usable_bytes(const void* block) noexcept;
/// What was last asked for.
[[nodiscard]] std::size_t asked_bytes(const void* block) noexcept;

/// The addresses of freed blocks that are kept closed go back.
void forget_freed() noexcept;

struct totals {
  std::size_t live_blocks;
  std::size_t live_bytes;
};
[[nodiscard]] totals in_use() noexcept;

}  // namespace large_blocks
}  // namespace cistern::detail
