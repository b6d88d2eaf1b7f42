// thread_cache: one thread's magazines for one pool.
#pragma once

#include <cistern/detail/pool/free_list.hpp>
#include <cistern/detail/pool/magazine.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

class depot;

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
/// the magazine full or not. Of larger blocks a magazine has too few for that: there `room` only says whether
/// frees may take the fast path at all. One cache line.
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
  [[nodiscard]] bool try_push_large(void* memory, std::size_t block_bytes) noexcept {
    if (room == 0 || loaded_blocks() >= most_blocks()) [[unlikely]] {
      return false;
    }
    push(memory, block_bytes);
    return true;
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

/// The slot of a class among those of all.
[[nodiscard]] inline cache_slot& slot_at(cache_slot* slots, class_place place) noexcept {
  constexpr std::size_t scale = sizeof(cache_slot) / class_place_scale;
  return *reinterpret_cast<cache_slot*>(reinterpret_cast<std::byte*>(slots) +
                                        scale * static_cast<std::size_t>(place));
}

/// All magazines of one thread for one pool. Only its thread touches it, but for the `owned_number`s, and but
/// for the pool's destructor and `release`, when no other thread may be inside the pool.
class thread_cache {
 public:
  explicit thread_cache(depot& owner) noexcept : depot_(&owner) {}

  [[nodiscard]] cache_slot& slot(unsigned index) noexcept { return slots_[index]; }
  [[nodiscard]] cache_slot& at(class_place place) noexcept { return slot_at(slots_.data(), place); }
  [[nodiscard]] const cache_slot& slot(unsigned index) const noexcept { return slots_[index]; }

  /// A thread takes this cache, which is empty: trims requested before don't concern it.
  void adopt() noexcept;
  /// It has it no more.
  void leave() noexcept;

  /// Serves a request that found no block at `head`; null where the depot has none. May throw what upstream
  /// throws.
  [[nodiscard]] void* try_refill(unsigned index);

  /// Takes a free block whose slot had no room at the first look.
  void take_back(unsigned index, void* block) noexcept;

  /// Hands every block to the depot.
  void flush() noexcept;
  /// The same on behalf of every trim requested so far.
  void flush_for_trim() noexcept;

  /// If `trim` was called since this cache last looked: flushes, and takes a step of that trim, whose
  /// thread could not reach in here.
  void honour_trim() noexcept;
  /// Gives up all room, and what lies in it, as the pool has gone.
  void forget() noexcept;
  /// Hands every block to the depot, and gives up all room: the thread ends.
  void retire() noexcept;

  // For the pool, under its lock for caches.
  thread_cache* next = nullptr;
  bool in_use = false;  ///< Some thread has it; otherwise it waits, empty, for a new thread.

 private:
  void load(unsigned index, magazine full) noexcept;
  void open(unsigned index) noexcept;
  void widen(unsigned index) noexcept;
  [[nodiscard]] bool has_much_room() const noexcept;
  [[nodiscard]] bool reserve(unsigned index, std::size_t bytes, std::size_t room) noexcept;
  [[nodiscard]] bool free_budget(unsigned index) noexcept;
  [[nodiscard]] bool may_look_for_largest() noexcept;
  [[nodiscard]] bool halve_largest(unsigned index, std::size_t least_room) noexcept;
  void resize_slot(unsigned index, std::uint32_t capacity) noexcept;
  void deactivate(unsigned index) noexcept;
  void flush_slot(unsigned index) noexcept;
  std::size_t unload_full(unsigned index) noexcept;
  std::size_t hand_over(unsigned index, magazine full) noexcept;
  void settle_late(unsigned index) noexcept;
  void look_whether_late() noexcept;
  static void look_for_last(cache_slot& slot, std::size_t blocks_elsewhere, std::size_t being_freed) noexcept;
  [[nodiscard]] static magazine take_spare(cache_slot& slot) noexcept;

  depot* depot_;
  std::size_t reserved_bytes_ = 0;  ///< Room: what two full magazines of each class would hold.
  unsigned clock_hand_ = 0;         ///< Where the search for an idle class goes on.
  std::uint32_t seen_trims_ = 0;
  std::uint32_t denials_ = 0;  ///< Of room, to classes for which none was free.
  std::uint32_t frees_while_late_ = 0;
  std::size_t bytes_while_late_ = 0;  ///< Of the same frees.
  bool is_late_ = false;  ///< Whether the depot was when it was last asked: every free is looked at.
  std::array<cache_slot, cached_class_count> slots_{};
};

/// A cache, or none, as the depot sees it for the time of a call. No base of the cache itself: that lives on
/// in its pool when a copy of the library is unloaded whose code made it, and virtual functions go with the
/// code.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): final, and never deleted through a base
class as_flushable final : public flushable {
 public:
  explicit as_flushable(thread_cache* cache) noexcept : cache_(cache) {}
  [[nodiscard]] flushable* get() noexcept { return cache_ != nullptr ? this : nullptr; }
  void flush() noexcept override { cache_->flush(); }
  void flush_for_trim() noexcept override { cache_->flush_for_trim(); }

 private:
  thread_cache* cache_;
};

}  // namespace cistern::detail
