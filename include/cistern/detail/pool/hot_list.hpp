// hot_list: the free blocks of one class that are at hand, and the accounts of its traffic.
#pragma once

#include <cistern/detail/pool/free_list.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// What the fast paths of a pool for one thread touch: a list without a bound, and one word that says how
/// many frees there may be until somebody has a look. Half a cache line.
///
/// Two words that go one way each, one written by allocations and one by frees: a single one that both write
/// costs a pair of them a second store-to-load delay. They are the hits and returns of the statistics.
struct alignas(32) hot_list {
  free_block* head = nullptr;
  std::uint64_t popped = 0;  ///< Blocks that ever left the list by `pop`.
  std::int64_t room = 0;     ///< Frees that may still take the fast path.
  std::uint64_t pushed_and_room = 0;

  /// Blocks that ever came by a free.
  [[nodiscard]] std::uint64_t pushed() const noexcept {
    return pushed_and_room - static_cast<std::uint64_t>(room);
  }

  /// Takes the first block off the list, which must not be empty.
  [[nodiscard]] void* pop() noexcept {
    free_block* const block = head;
    head = block->next();
    __builtin_prefetch(head);
    ++popped;
    return block->handed_out();
  }

  /// The fast path of a free: false, and nothing done, where somebody has to look first.
  [[nodiscard]] bool try_push(void* memory, std::size_t block_bytes) noexcept {
    if (--room < 0) [[unlikely]] {
      room = 0;
      return false;
    }
    head = free_block::make(memory, block_bytes, head);
    return true;
  }

  /// A free that takes no room.
  void push(void* memory, std::size_t block_bytes) noexcept {
    head = free_block::make(memory, block_bytes, head);
    ++pushed_and_room;
  }

  void set_room(std::int64_t frees) noexcept {
    pushed_and_room += static_cast<std::uint64_t>(frees - room);
    room = frees;
  }
};
static_assert(sizeof(hot_list) == 32);

}  // namespace cistern::detail
