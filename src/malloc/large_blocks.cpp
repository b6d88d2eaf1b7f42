#include "large_blocks.hpp"

#include <cistern/detail/base/os_pages.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>

#include "heap_pages.hpp"

namespace cistern::detail::large_blocks {
namespace {

/// Stands at the start of the page before a block; that page is the mapping's first.
struct record {
  std::size_t mapped_bytes;
};

// Relaxed: figures for reports.
constinit std::atomic<std::size_t> live_blocks{0};
constinit std::atomic<std::size_t> live_bytes{0};

record* record_of(const void* block) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(block);
  return reinterpret_cast<record*>(address - os_page_bytes());
}

/// The mapping for a block of so many bytes; 0 where there is no such number.
std::size_t mapping_bytes(std::size_t bytes) noexcept {
  const std::size_t page = os_page_bytes();
  return bytes <= PTRDIFF_MAX - 2 * page ? whole_pages(bytes) + page : 0;
}

std::byte* block_in(void* mapping) noexcept {
  return static_cast<std::byte*>(mapping) + os_page_bytes();
}

// A mapping whose second page lies on the boundary.
std::byte* map_before_boundary(std::size_t bytes, std::size_t alignment) noexcept {
  const std::size_t page = os_page_bytes();
  if (alignment <= page) {
    return static_cast<std::byte*>(map_covered_pages(bytes));
  }
  const std::size_t lead_bytes = alignment - page;
  if (bytes > PTRDIFF_MAX - alignment) {
    return nullptr;
  }
  auto* pages = static_cast<std::byte*>(map_covered_pages(bytes + lead_bytes, alignment));
  if (pages == nullptr) {
    return nullptr;
  }
  unmap_pages(pages, lead_bytes);
  return pages + lead_bytes;
}

void count(std::size_t blocks, std::size_t bytes) noexcept {
  live_blocks.fetch_add(blocks, std::memory_order_relaxed);
  live_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

void* begin(void* mapping, std::size_t bytes) noexcept {
  new (mapping) record{bytes};
  std::byte* block = block_in(mapping);
  heap_map.set(block, 1, heap_pages::single_code);
  count(1, bytes);
  return block;
}

// The code goes before the pages do: others may get the addresses at once.
void end(void* block, std::size_t bytes) noexcept {
  heap_map.set(block, 1, 0);
  count(SIZE_MAX, std::size_t{0} - bytes);
}

// Null, and nothing changed, where `new_bytes` is 0 or the system refuses.
void* resize(void* block, std::size_t old_bytes, std::size_t new_bytes) noexcept {
  if (new_bytes == 0) {
    return nullptr;
  }
  auto* moved = static_cast<record*>(remap_told_pages(record_of(block), block, old_bytes, new_bytes));
  if (moved == nullptr) {
    return nullptr;
  }
  moved->mapped_bytes = new_bytes;
  count(0, new_bytes - old_bytes);
  return block_in(moved);
}

}  // namespace

void* allocate(std::size_t bytes, std::size_t alignment) noexcept {
  const std::size_t mapped_bytes = mapping_bytes(bytes);
  if (mapped_bytes == 0) {
    return nullptr;
  }
  std::byte* mapping = map_before_boundary(mapped_bytes, alignment);
  return mapping == nullptr ? nullptr : begin(mapping, mapped_bytes);
}

void deallocate(void* block) noexcept {
  record* mapping = record_of(block);
  const std::size_t mapped_bytes = mapping->mapped_bytes;
  end(block, mapped_bytes);
  unmap_pages(mapping, mapped_bytes);
}

// What grows will grow again: an eighth more, which takes addresses only, spares calls of the system.
void* reallocate(void* block, std::size_t bytes) noexcept {
  record* mapping = record_of(block);
  const std::size_t old_bytes = mapping->mapped_bytes;
  const std::size_t new_bytes = mapping_bytes(bytes);
  if (new_bytes == 0) {
    return nullptr;
  }
  if (new_bytes <= old_bytes && new_bytes >= old_bytes - old_bytes / 8) {
    return block;
  }
  void* moved = new_bytes > old_bytes ? resize(block, old_bytes, mapping_bytes(bytes + bytes / 8)) : nullptr;
  return moved != nullptr ? moved : resize(block, old_bytes, new_bytes);
}

std::size_t usable_bytes(const void* block) noexcept {
  return record_of(block)->mapped_bytes - os_page_bytes();
}

totals in_use() noexcept {
  return {live_blocks.load(std::memory_order_relaxed), live_bytes.load(std::memory_order_relaxed)};
}

}  // namespace cistern::detail::large_blocks
