// empty_blocks: what `malloc(0)` gives in a hardened build: addresses that nobody may touch.
#pragma once

#include <cstddef>

namespace cistern::detail {

/// 16 bytes of address space each, of 16 MiB that are never opened, and told in `heap_map` as
/// `heap_pages::empty_code`. Which of them are out stands beside them. Thread-safe, without a lock; O(1).
namespace empty_blocks {

/// Null where all are out, or the system has no addresses left.
[[nodiscard]] void* try_allocate() noexcept;

/// Whether `block`, of those pages, is out.
[[nodiscard]] bool is_out(const void* block) noexcept;
/// False, and nothing done, where it isn't.
[[nodiscard]] bool try_deallocate(const void* block) noexcept;

}  // namespace empty_blocks
}  // namespace cistern::detail
