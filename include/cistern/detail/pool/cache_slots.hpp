// cache_slots: the magazines of a thread's cache, for the fast paths.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/free_list.hpp>
#include <cistern/detail/pool/magazine.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// A number that its thread alone writes while others may read: relaxed, since readers only want statistics,
/// and a quiet moment is ordered by whatever made it quiet. Loads and stores, so as cheap as a plain number.
template <class T>
class owned_number {
 public:
  constexpr owned_number(T value = T{}) noexcept : value_(value) {}  // NOLINT(google-explicit-constructor)
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator T() const noexcept { return value_.load(std::memory_order_relaxed); }
  owned_number& operator=(T value) noexcept {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  // Compilers leave an atomic load and store apart, where one instruction does both, or loads and compares.

  owned_number& operator++() noexcept {
#if defined(__x86_64__)
    static_assert(sizeof(value_) == 8);
    asm("{addq $1, %0|add qword ptr %0, 1}" : "+m"(value_) : : "cc");
    return *this;
#else
    return *this = *this + T{1};
#endif
  }
  owned_number& operator--() noexcept {
#if defined(__x86_64__)
    static_assert(sizeof(value_) == 8);
    asm("{subq $1, %0|sub qword ptr %0, 1}" : "+m"(value_) : : "cc");
    return *this;
#else
    return *this = *this - T{1};
#endif
  }
  [[nodiscard]] bool is_positive() const noexcept {
#if defined(__x86_64__)
    static_assert(sizeof(value_) == 8);
    bool is_greater = false;
    asm("{cmpq $0, %1|cmp qword ptr %1, 0}" : "=@ccg"(is_greater) : "m"(value_));
    return is_greater;
#else
    return *this > T{0};
#endif
  }

 private:
  std::atomic<T> value_;
};

/// One class in one thread's cache: the magazine in use (`head`) and a spare one, full or empty. After J.
/// Bonwick and J. Adams, "Magazines and Vmem", 2001: a miss swaps the two and goes to the depot only when
/// that doesn't help, so about a magazine's worth of operations lies between two visits.
///
///     blocks at `head` == sum - room - popped
///
/// As in `hot_list`, two words that go one way each, and frees that have a look when `room` is used up, be
/// the magazine full or not. Of larger blocks a magazine has too few for that: there an allocation gives room
/// back. One cache line.
struct alignas(64) cache_slot {
  free_block* head = nullptr;
  owned_number<std::int64_t> popped;  ///< Allocations served here, ever.
  owned_number<std::int64_t> room;    ///< Frees that may still take the fast path.
  owned_number<std::int64_t> sum;
  std::size_t whole_at = SIZE_MAX;  ///< With so many blocks at `head` nothing of the class may be in use.
  free_block* spare = nullptr;
  owned_number<std::uint32_t> spare_blocks;
  owned_number<std::uint32_t> capacity;  ///< Blocks in a full magazine; 0 while the class isn't cached.
  std::uint32_t last_activity = 0;       ///< `activity` when the budget last looked here.
  std::uint32_t earlier_capacity = 0;    ///< What it once grew to, for whoever has this cache next.

  [[nodiscard]] std::size_t loaded_blocks() const noexcept {
    const std::int64_t blocks = sum - room - popped;
    return blocks > 0 ? static_cast<std::size_t>(blocks) : 0;  // below 0: read while its thread works
  }
  [[nodiscard]] std::size_t free_blocks() const noexcept { return loaded_blocks() + spare_blocks; }
  /// What `head` may have before a free has a look.
  [[nodiscard]] std::size_t most_blocks() const noexcept {
    return std::min<std::size_t>(capacity, whole_at - 1);
  }
  /// Changes with every use.
  [[nodiscard]] std::uint32_t activity() const noexcept {
    return static_cast<std::uint32_t>(sum - room + popped);
  }

  [[nodiscard]] void* pop() noexcept {
    free_block* block = head;
    head = block->next();
    __builtin_prefetch(head);
    ++popped;
    return block->handed_out();
  }

  /// The fast path of a free: false, and nothing done, where somebody has to look first.
  [[nodiscard]] bool try_push(void* memory, std::size_t block_bytes) noexcept {
    if (!room.is_positive()) [[unlikely]] {
      return false;
    }
    head = free_block::make(memory, block_bytes, head);
    --room;
    return true;
  }

  /// The same for a class of larger blocks.
  [[nodiscard]] void* pop_large() noexcept {
    ++room;
    ++sum;
    return pop();
  }

  /// A free that takes no room.
  void push(void* memory, std::size_t block_bytes) noexcept {
    head = free_block::make(memory, block_bytes, head);
    ++sum;
  }

  void set_room(std::int64_t frees) noexcept {
    sum = sum + (frees - room);
    room = frees;
  }
};
static_assert(sizeof(cache_slot) == 64);

/// The slots of all classes. A class of small blocks has the room of its two magazines for itself. Larger
/// ones share a room, which each block takes as it comes and gives back as it goes: their magazines are
/// seldom full at the same time.
struct cache_slots {
  std::array<cache_slot, cached_class_count> of_class{};
  /// What larger blocks may still take. Below 0 for a while where upstream, called in a free, frees as well.
  std::int64_t free_room_bytes = 0;

  [[nodiscard]] cache_slot& operator[](unsigned index) noexcept { return of_class[index]; }
  [[nodiscard]] const cache_slot& operator[](unsigned index) const noexcept { return of_class[index]; }
  [[nodiscard]] cache_slot& at(class_place place) noexcept {
    constexpr std::size_t scale = sizeof(cache_slot) / class_place_scale;
    return *reinterpret_cast<cache_slot*>(reinterpret_cast<std::byte*>(of_class.data()) +
                                          scale * static_cast<std::size_t>(place));
  }

  /// The fast paths of a class of larger blocks: null, or false and nothing done, where somebody has to look
  /// first.
  [[nodiscard]] void* try_pop_large(unsigned index) noexcept {
    cache_slot& slot = of_class[index];
    if (slot.head == nullptr) [[unlikely]] {
      return nullptr;
    }
    free_room_bytes += large_bytes(index);
    return slot.pop_large();
  }
  /// The same for any class.
  [[nodiscard]] void* try_pop(unsigned index) noexcept {
    if (!has_own_room(index)) {
      return try_pop_large(index);
    }
    cache_slot& slot = of_class[index];
    return slot.head != nullptr ? slot.pop() : nullptr;
  }
  [[nodiscard]] bool try_push_large(unsigned index, void* block) noexcept {
    const std::int64_t bytes = large_bytes(index);
    if (free_room_bytes < bytes || !of_class[index].try_push(block, static_cast<std::size_t>(bytes)))
        [[unlikely]] {
      return false;
    }
    free_room_bytes -= bytes;
    return true;
  }

  /// A free of any class that has looked.
  void push(unsigned index, void* block) noexcept {
    take_room(index, 1);
    of_class[index].push(block, class_block_bytes(index));
  }
  /// Blocks come and go as a magazine.
  void take_room(unsigned index, std::size_t blocks) noexcept {
    if (!has_own_room(index)) {
      free_room_bytes -= static_cast<std::int64_t>(blocks) * large_bytes(index);
    }
  }
  void give_room(unsigned index, std::size_t blocks) noexcept {
    if (!has_own_room(index)) {
      free_room_bytes += static_cast<std::int64_t>(blocks) * large_bytes(index);
    }
  }
  [[nodiscard]] static constexpr bool has_own_room(unsigned index) noexcept {
    return index < small_class_count;
  }

 private:
  [[nodiscard]] static std::int64_t large_bytes(unsigned index) noexcept {
    return static_cast<std::int64_t>(coarse_class_block_bytes(index));
  }
};

}  // namespace cistern::detail
