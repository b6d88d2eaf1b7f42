// foreign_blocks: the allocator that was there before, for blocks that aren't ours and for pass-through mode.
#pragma once

#include <cstddef>

namespace cistern::detail {

// Two sources define these: one for libcistern-malloc.so, where it is the C library's own, by the names that
// nobody replaces; one for cistern::global_new, where it is malloc, whosever that is.

[[nodiscard]] void* foreign_allocate(std::size_t bytes, std::size_t alignment) noexcept;
[[nodiscard]] void* foreign_allocate_zeroed(std::size_t bytes) noexcept;
[[nodiscard]] void* foreign_reallocate(void* block, std::size_t bytes) noexcept;
void foreign_deallocate(void* block) noexcept;
[[nodiscard]] std::size_t foreign_usable_bytes(void* block) noexcept;
/// Whether that allocator may have a block. False: it has never given one out.
[[nodiscard]] bool foreign_may_have_blocks() noexcept;

}  // namespace cistern::detail
