// os_pages: whole pages from the operating system, at any alignment, without exceptions.
#pragma once

#include <cstddef>

namespace cistern::detail {

/// Where a huge page may begin, and how large it is, on the systems that have them.
inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

/// What no machine has. Where this much is refused, it isn't worth looking for among idle memory.
inline constexpr std::size_t absurd_bytes = std::size_t{1} << 46;

/// The size of the system's pages, in bytes: a power of two. O(1); thread-safe.
[[nodiscard]] std::size_t os_page_bytes() noexcept;

/// `bytes` rounded up to whole pages, at least one; 0 where that overflows.
[[nodiscard]] std::size_t whole_pages(std::size_t bytes) noexcept;

/// New pages that read as zero, or null. `bytes` is a result of `whole_pages`, `alignment` a power of two.
/// Takes no memory until a page is touched. Leaves `errno` as it was. Thread-safe, and usable in a forked
/// child.
[[nodiscard]] void* map_pages(std::size_t bytes, std::size_t alignment) noexcept;

/// Addresses of pages that nobody may touch yet, or null. `bytes` is a result of `whole_pages`. Takes no
/// memory. Leaves `errno` as it was.
[[nodiscard]] void* reserve_pages(std::size_t bytes) noexcept;

/// As `map_pages`, between `guard_bytes` on either side that nobody may touch, as long as they aren't opened:
/// whole pages too. They take addresses, and no memory.
[[nodiscard]] void* map_guarded_pages(std::size_t bytes, std::size_t alignment,
                                      std::size_t guard_bytes) noexcept;
/// Gives them back, guards included.
void unmap_guarded_pages(void* pages, std::size_t bytes, std::size_t guard_bytes) noexcept;

/// What pages hold is gone, and whoever touches them from now on gets SIGSEGV. They take no memory any more.
/// False, and nothing changed, where the system refuses. Leaves `errno` as it was.
[[nodiscard]] bool bury_pages(void* pages, std::size_t bytes) noexcept;

/// Moves what is on pages, of one mapping, to where others are, which it replaces; as many pages more or less
/// as there are more or less. The addresses where they were are nobody's. False, and nothing changed, where
/// the system refuses. Leaves `errno` as it was.
[[nodiscard]] bool move_pages(void* from, std::size_t bytes, void* to, std::size_t new_bytes) noexcept;

/// Whoever touches these pages from now on gets SIGSEGV; what they hold stays. False where the system
/// refuses, as it may: mappings are split by this, and their number is limited. Leaves `errno` as it was.
[[nodiscard]] bool close_pages(void* pages, std::size_t bytes) noexcept;

/// Undoes `close_pages`, and makes reserved pages usable. False, and nothing changed, where the system
/// refuses. Leaves `errno` as it was.
[[nodiscard]] bool open_pages(void* pages, std::size_t bytes) noexcept;

/// Gives back pages of one or more mappings, closed ones too. What the system refuses to take is kept for
/// `map_pages`, and offered again. Leaves `errno` as it was.
void unmap_pages(void* pages, std::size_t bytes) noexcept;

/// The pages read as zero from now on, and take no memory until they are touched again. Both ends are whole
/// pages. False where the system can't; then nothing has changed. Leaves `errno` as it was.
bool discard_pages(void* pages, std::size_t bytes) noexcept;

/// Tells the system that huge pages would do these pages good. A hint: nothing else changes.
void advise_huge_pages(void* pages, std::size_t bytes) noexcept;

}  // namespace cistern::detail
