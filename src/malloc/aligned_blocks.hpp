// aligned_blocks: blocks of the heap aligned above a page, each within a larger one of the pool.
#pragma once

#include <cistern/detail/base/size_classes.hpp>

#include <cstddef>

namespace cistern::detail {

/// Where a process may have so many mappings, blocks that are only aligned can't have one each. So such a
/// block begins at the first boundary in a block of the pool, which begins at a page; in front of it stands
/// where that one begins. `heap_map` tells its page as `heap_pages::aligned_code`. Thread-safe for different
/// blocks; O(1).
namespace aligned_blocks {

/// Beyond this a block has a mapping: too many addresses would lie in front.
inline constexpr std::size_t most_alignment = std::size_t{256} << 10;

/// What to ask the pool for, at a page's boundary; `alignment` above a page.
[[nodiscard]] constexpr std::size_t room_bytes(std::size_t bytes, std::size_t alignment) noexcept {
  return (bytes != 0 ? bytes : 1) + (alignment - page_bytes);
}
/// The block within `room`, a block of the pool in use: itself, if it lies on the boundary.
[[nodiscard]] void* begin_in(void* room, std::size_t alignment) noexcept;

/// Whether `block`, in a page of that code, is the beginning of a block in use, as far as its page tells.
[[nodiscard]] bool is_block(const void* block) noexcept;
/// Up to the end of its room.
[[nodiscard]] std::size_t usable_bytes(const void* block) noexcept;
/// Ends it, and returns its room, which is to be freed.
[[nodiscard]] void* end(void* block) noexcept;

}  // namespace aligned_blocks
}  // namespace cistern::detail
