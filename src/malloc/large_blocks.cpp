#include "large_blocks.hpp"

#include <cistern/detail/base/os_pages.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <new>

#include "heap_pages.hpp"

namespace cistern::detail::large_blocks {
namespace {

/// Stands at the start of a mapping.
///
///     | record's page | guard | block | guard |        guards in a hardened build only
struct record {
  std::size_t mapped_bytes;
  std::size_t asked_bytes;
};

/// With so many guarded blocks in use, further ones have none: each takes four mappings, of which the system
/// has no more than 65,530 for a process, unless it is told otherwise.
constexpr std::size_t most_guarded_blocks = 8192;

// Relaxed: figures for reports.
constinit std::atomic<std::size_t> live_blocks{0};
constinit std::atomic<std::size_t> live_bytes{0};

std::size_t front_bytes() noexcept {
  return os_page_bytes() + heap_guard_bytes;
}
std::size_t beside_bytes() noexcept {
  return front_bytes() + heap_guard_bytes;
}

record* record_of(const void* block) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(block);
  return reinterpret_cast<record*>(address - front_bytes());
}

/// The mapping for a block of so many bytes; 0 where there is no such number.
std::size_t mapping_bytes(std::size_t bytes) noexcept {
  return bytes <= PTRDIFF_MAX - beside_bytes() - os_page_bytes() ? whole_pages(bytes) + beside_bytes() : 0;
}

std::byte* block_in(void* mapping) noexcept {
  return static_cast<std::byte*>(mapping) + front_bytes();
}

// A mapping in which the block lies on the boundary.
std::byte* map_before_boundary(std::size_t bytes, std::size_t alignment) noexcept {
  if (alignment <= os_page_bytes()) {
    return static_cast<std::byte*>(map_covered_pages(bytes));
  }
  const std::size_t lead_bytes = (alignment - front_bytes() % alignment) % alignment;
  if (bytes > PTRDIFF_MAX - alignment) {
    return nullptr;
  }
  auto* pages = static_cast<std::byte*>(map_covered_pages(bytes + lead_bytes, alignment));
  if (pages == nullptr || lead_bytes == 0) {
    return pages;
  }
  unmap_pages(pages, lead_bytes);
  return pages + lead_bytes;
}

// Where the system refuses, or there are many, the block is as good without.
void close_guards(std::byte* block, std::size_t block_bytes) noexcept {
  if (hardened_build && live_blocks.load(std::memory_order_relaxed) < most_guarded_blocks) {
    static_cast<void>(close_pages(block - heap_guard_bytes, heap_guard_bytes));
    static_cast<void>(close_pages(block + block_bytes, heap_guard_bytes));
  }
}

void count(std::size_t blocks, std::size_t bytes) noexcept {
  live_blocks.fetch_add(blocks, std::memory_order_relaxed);
  live_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

// A block of so many bytes less.
void count_freed(std::size_t bytes) noexcept {
  count(SIZE_MAX, std::size_t{0} - bytes);
}

void* begin(void* mapping, std::size_t mapped_bytes, std::size_t asked_bytes) noexcept {
  new (mapping) record{mapped_bytes, asked_bytes};
  std::byte* block = block_in(mapping);
  close_guards(block, mapped_bytes - beside_bytes());
  heap_map.set(block, 1, heap_pages::single_code);
  count(1, mapped_bytes);
  return block;
}

void unmap(void* block) noexcept {
  record* const mapping = record_of(block);
  heap_map.set(block, 1, 0);  // before the pages go: others may get the addresses at once
  unmap_pages(mapping, mapping->mapped_bytes);
}

/// In a hardened build the last blocks that were freed stay where they are for a while, closed, so that
/// whoever uses one of them is found. They take addresses, and no memory but for the record's page.
constinit std::array<std::atomic<void*>, 64> buried_blocks{};
// Relaxed: whichever place it is, the exchange hands over what was there.
constinit std::atomic<std::size_t> next_grave{0};

// Returns what has lain there for longest and must go, if anything.
void* bury(void* block, std::size_t block_bytes) noexcept {
  if (!bury_pages(block, block_bytes)) {
    return block;
  }
  heap_map.set(block, 1, heap_pages::freed_code);
  const std::size_t grave = next_grave.fetch_add(1, std::memory_order_relaxed) % buried_blocks.size();
  return buried_blocks[grave].exchange(block, std::memory_order_acq_rel);
}

// The pages of a guarded block alone move, to between guards that were got before. Where they were, others
// may map something at once: the map says nothing of that place any more, and only what lay around them is
// unmapped. Null, and nothing changed, where the system refuses.
void* move_guarded(void* block, std::size_t old_bytes, std::size_t new_bytes) noexcept {
  void* const mapping = map_covered_pages(new_bytes);
  if (mapping == nullptr) {
    return nullptr;
  }
  const std::size_t block_bytes = old_bytes - beside_bytes();
  void* const moved = begin(mapping, new_bytes, record_of(block)->asked_bytes);
  heap_map.set(block, 1, 0);
  if (!move_pages(block, block_bytes, moved, new_bytes - beside_bytes())) {
    heap_map.set(block, 1, heap_pages::single_code);
    count_freed(new_bytes);
    unmap(moved);
    return nullptr;
  }
  count_freed(old_bytes);
  unmap_pages(record_of(block), front_bytes());
  unmap_pages(static_cast<std::byte*>(block) + block_bytes, heap_guard_bytes);
  return moved;
}

// Null, and nothing changed, where `new_bytes`, of the mapping, is 0 or the system refuses.
void* resize(void* block, std::size_t old_bytes, std::size_t new_bytes) noexcept {
  if (new_bytes == 0) {
    return nullptr;
  }
  if (hardened_build) {
    return move_guarded(block, old_bytes, new_bytes);
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
  return mapping == nullptr ? nullptr : begin(mapping, mapped_bytes, bytes);
}

void deallocate(void* block) noexcept {
  count_freed(record_of(block)->mapped_bytes);
  void* const gone = hardened_build ? bury(block, usable_bytes(block)) : block;
  if (gone != nullptr) {
    unmap(gone);
  }
}

void forget_freed() noexcept {
  for (std::atomic<void*>& buried : buried_blocks) {
    if (void* const block = buried.exchange(nullptr, std::memory_order_acq_rel); block != nullptr) {
      unmap(block);
    }
  }
}

// What grows will grow again: an eighth more, which takes addresses only, spares calls of the system.
void* reallocate(void* block, std::size_t bytes) noexcept {
  record* mapping = record_of(block);
  const std::size_t old_bytes = mapping->mapped_bytes;
  const std::size_t new_bytes = mapping_bytes(bytes);
  if (new_bytes == 0) {
    return nullptr;
  }
  void* moved = block;
  if (new_bytes > old_bytes || new_bytes < old_bytes - old_bytes / 8) {
    moved = new_bytes > old_bytes ? resize(block, old_bytes, mapping_bytes(bytes + bytes / 8)) : nullptr;
    moved = moved != nullptr ? moved : resize(block, old_bytes, new_bytes);
  }
  if (moved != nullptr) {
    record_of(moved)->asked_bytes = bytes;
  }
  return moved;
}

std::size_t usable_bytes(const void* block) noexcept {
  return record_of(block)->mapped_bytes - beside_bytes();
}

std::size_t asked_bytes(const void* block) noexcept {
  return record_of(block)->asked_bytes;
}

totals in_use() noexcept {
  return {live_blocks.load(std::memory_order_relaxed), live_bytes.load(std::memory_order_relaxed)};
}

}  // namespace cistern::detail::large_blocks
