#include "heap_pages.hpp"

#include <cistern/detail/base/errno_keeper.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/base/tsan.hpp>
#include <cistern/detail/pool/magazine.hpp>

#include <algorithm>

#include <sys/mman.h>

namespace cistern::detail {
namespace {

/// Pieces from here up are mappings of their own.
constexpr std::size_t least_mapped_bytes = std::size_t{128} << 10;
/// The first region is small, since the system may give huge pages to large ones; each is twice its
/// predecessor.
constexpr std::size_t first_region_bytes = std::size_t{512} << 10;
constexpr std::size_t largest_region_bytes = std::size_t{32} << 20;

static_assert(class_count < heap_pages::aligned_code, "a code for each class");

// Written while there is one thread, and before anything is allocated.
constinit bool huge_pages_are_welcome = false;

}  // namespace

constinit page_map heap_map;

void welcome_huge_pages() noexcept {
  huge_pages_are_welcome = true;
}

namespace {

std::size_t boundary_for(std::size_t bytes, std::size_t alignment) noexcept {
  const bool huge = huge_pages_are_welcome && bytes >= huge_page_bytes;
  return huge ? std::max(alignment, huge_page_bytes) : alignment;
}

// Of pages that were just mapped, if they were.
void* covered(void* pages, std::size_t bytes, std::size_t guard_bytes) noexcept {
  if (pages != nullptr && !heap_map.cover(pages, bytes)) {
    unmap_guarded_pages(pages, bytes, guard_bytes);
    return nullptr;
  }
  if (pages != nullptr && huge_pages_are_welcome && bytes >= huge_page_bytes) {
    advise_huge_pages(pages, bytes);
  }
  return pages;
}

// What the pool cuts up.
void* map_region(std::size_t bytes) noexcept {
  if constexpr (hardened_build) {
    return covered(map_guarded_pages(bytes, boundary_for(bytes, page_bytes), heap_guard_bytes), bytes,
                   heap_guard_bytes);
  } else {
    return map_covered_pages(bytes);
  }
}

}  // namespace

void* map_covered_pages(std::size_t bytes, std::size_t alignment) noexcept {
  return covered(map_pages(bytes, boundary_for(bytes, alignment)), bytes, 0);
}

void* remap_told_pages(void* pages, void* told, std::size_t bytes, std::size_t new_bytes) noexcept {
  const errno_keeper keeper;
  page_map::spare_leaf spare(heap_map);  // once the pages have moved, nothing may fail any more
  if (!spare) {
    return nullptr;
  }
  const page_map::code code = heap_map.at(told);
  heap_map.set(told, 1, 0);  // before others may get these addresses
  // ThreadSanitizer sees that addresses were given up by munmap, but not by this: there blocks are copied,
  // but for those that would take all too long.
  constexpr std::size_t long_bytes = std::size_t{64} << 20;
  const int may_move = program_has_tsan() && bytes < long_bytes ? 0 : MREMAP_MAYMOVE;
  void* const moved = ::mremap(pages, bytes, new_bytes, may_move);
  if (moved == MAP_FAILED) {  // or somebody's mprotect has split the mapping
    heap_map.set(told, 1, code);
    return nullptr;
  }
  void* const told_now =
      static_cast<std::byte*>(moved) + (static_cast<std::byte*>(told) - static_cast<std::byte*>(pages));
  heap_map.cover(told_now, spare);
  heap_map.set(told_now, 1, code);
  return moved;
}

void* heap_pages::try_allocate(std::size_t bytes, std::size_t /*alignment*/) noexcept {
  const std::size_t whole_bytes = whole_pages(bytes);
  return whole_bytes < least_mapped_bytes ? cut(whole_bytes) : map_region(whole_bytes);
}

void heap_pages::deallocate(void* memory, std::size_t bytes) noexcept {
  const std::size_t whole_bytes = whole_pages(bytes);
  heap_map.set(memory, whole_bytes, 0);  // before others may get these addresses
  unmap_guarded_pages(memory, whole_bytes, whole_bytes < least_mapped_bytes ? 0 : heap_guard_bytes);
}

// Of a run only the first page may be asked for: what others were before isn't said any more.
void heap_pages::assign(void* memory, std::size_t bytes, unsigned index) noexcept {
  if (index >= cached_class_count) {
    heap_map.set(memory, class_block_bytes(index), 0);
  }
  heap_map.set(memory, bytes, code_of_class(index));
}

void* heap_pages::cut(std::size_t bytes) noexcept {
  const scoped_lock guard(lock_);
  if (static_cast<std::size_t>(region_end_ - region_) < bytes && !open_region(bytes)) {
    return nullptr;
  }
  std::byte* piece = region_;
  region_ += bytes;
  return piece;
}

// What was left of the last region stays behind: it takes addresses only.
bool heap_pages::open_region(std::size_t bytes) noexcept {
  const std::size_t wanted_bytes = std::max(next_region_bytes_, first_region_bytes);
  std::size_t region_bytes = wanted_bytes;
  void* region = map_region(region_bytes);
  if (region == nullptr) {
    region_bytes = bytes;  // near a limit on addresses: what is needed now may still be there
    region = map_region(region_bytes);
  }
  if (region == nullptr) {
    return false;
  }
  next_region_bytes_ = std::min(2 * wanted_bytes, largest_region_bytes);
  region_ = static_cast<std::byte*>(region);
  region_end_ = region_ + region_bytes;
  return true;
}

}  // namespace cistern::detail
