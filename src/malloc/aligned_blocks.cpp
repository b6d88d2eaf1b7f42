#include "aligned_blocks.hpp"

#include <cstdint>
#include <cstring>

#include "../base/boundary.hpp"
#include "heap_pages.hpp"

namespace cistern::detail::aligned_blocks {
namespace {

std::byte* room_of(const void* block) noexcept {
  std::byte* room = nullptr;
  std::memcpy(&room, static_cast<const std::byte*>(block) - sizeof room, sizeof room);
  return room;
}

/// Of a block of the pool; 0 where none can begin.
std::size_t pooled_bytes_at(const void* room) noexcept {
  const unsigned index = heap_map.at(room) - 1U;  // no class for code 0
  return index < class_count ? class_block_bytes(index) : 0;
}

}  // namespace

void* begin_in(void* room, std::size_t alignment) noexcept {
  const std::size_t in_front = bytes_to_boundary(room, alignment);
  if (in_front == 0) {
    return room;
  }
  std::byte* const block = static_cast<std::byte*>(room) + in_front;
  std::memcpy(block - sizeof room, &room, sizeof room);
  heap_map.set(block, 1, heap_pages::aligned_code);
  return block;
}

bool is_block(const void* block) noexcept {
  if (reinterpret_cast<std::uintptr_t>(block) % page_bytes != 0) {
    return false;
  }
  const auto in_room =
      reinterpret_cast<std::uintptr_t>(block) - reinterpret_cast<std::uintptr_t>(room_of(block));
  return in_room != 0 && in_room < pooled_bytes_at(room_of(block));
}

std::size_t usable_bytes(const void* block) noexcept {
  const std::byte* const room = room_of(block);
  return pooled_bytes_at(room) - static_cast<std::size_t>(static_cast<const std::byte*>(block) - room);
}

void* end(void* block) noexcept {
  heap_map.set(block, 1, heap_pages::freed_code);  // before others may get it
  return room_of(block);
}

}  // namespace cistern::detail::aligned_blocks
