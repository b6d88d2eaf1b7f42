// heap_pages: the heap's memory from the system, told page by page in the page map.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/detail/pool/chunk_source.hpp>

#include <cstddef>

#include "page_map.hpp"

namespace cistern::detail {

/// What the heap knows of each page. Not a member, as it is large and begins as zeros, which take no room in
/// a file.
extern constinit page_map heap_map;

/// From now on the system is asked for huge pages for what has room for them. Before anything is mapped.
void welcome_huge_pages() noexcept;

/// In a hardened build nobody may touch what lies so far around the heap's regions, and around blocks of
/// their own: addresses only. What runs beyond a block ends there, and so does what misses it by far.
inline constexpr std::size_t heap_guard_bytes = hardened_build ? std::size_t{1} << 20 : 0;

/// `bytes`, whole pages, from the system, aligned and covered by `heap_map`; or null. Thread-safe.
[[nodiscard]] void* map_covered_pages(std::size_t bytes, std::size_t alignment = page_bytes) noexcept;

/// Makes a mapping longer or shorter, and moves it where it must, without a copy. `told` is its one page that
/// `heap_map` tells of, and goes on telling of in its new place. Null, and nothing changed, where the system
/// refuses.
[[nodiscard]] void* remap_told_pages(void* pages, void* told, std::size_t bytes,
                                     std::size_t new_bytes) noexcept;

/// What the pool under `malloc` draws from, and what blocks beyond the pool are made of. Small pieces are cut
/// one after the other from regions, so that a program's start takes few calls of the system; larger ones are
/// mappings of their own. What is given back goes to the system at once: the pool has kept what is worth it.
///
/// There from before the first constructor, and never destroyed. Thread-safe.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): final, and never deleted
class heap_pages final : public chunk_source {
 public:
  /// Codes of the page map: 0 for memory that no block in use begins in, or that isn't the heap's; 1 + class;
  /// or one of these: a block of its own; one that has pages of its own and was freed; one of no bytes; one
  /// within a block of the pool.
  static constexpr page_map::code single_code = 255;
  static constexpr page_map::code freed_code = 254;
  static constexpr page_map::code empty_code = 253;
  static constexpr page_map::code aligned_code = 252;
  [[nodiscard]] static constexpr page_map::code code_of_class(unsigned index) noexcept {
    return static_cast<page_map::code>(index + 1);
  }

  constexpr heap_pages() noexcept = default;
  heap_pages(const heap_pages&) = delete;
  heap_pages& operator=(const heap_pages&) = delete;

  [[nodiscard]] void* try_allocate(std::size_t bytes, std::size_t alignment) noexcept override;
  void deallocate(void* memory, std::size_t bytes) noexcept override;
  void assign(void* memory, std::size_t bytes, unsigned index) noexcept override;

 private:
  [[nodiscard]] void* cut(std::size_t bytes) noexcept;
  [[nodiscard]] bool open_region(std::size_t bytes) noexcept CISTERN_REQUIRES(lock_);

  mutex lock_;  // taken under a lock of the pool only, so a fork finds it free
  std::byte* region_ CISTERN_GUARDED_BY(lock_) = nullptr;
  std::byte* region_end_ CISTERN_GUARDED_BY(lock_) = nullptr;
  std::size_t next_region_bytes_ CISTERN_GUARDED_BY(lock_) = 0;
};

}  // namespace cistern::detail
