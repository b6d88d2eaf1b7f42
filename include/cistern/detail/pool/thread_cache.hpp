// thread_cache: one thread's magazines for one pool.
#pragma once

#include <cistern/detail/pool/cache_slots.hpp>
#include <cistern/detail/pool/magazine.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

class depot;

/// All magazines of one thread for one pool. Only its thread touches it, but for the `owned_number`s, and but
/// for the pool's destructor and `release`, when no other thread may be inside the pool.
class thread_cache {
 public:
  explicit thread_cache(depot& owner) noexcept : depot_(&owner) {}

  [[nodiscard]] cache_slots& slots() noexcept { return slots_; }
  [[nodiscard]] cache_slot& slot(unsigned index) noexcept { return slots_[index]; }
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
  void give_away(unsigned index, void* block) noexcept;
  void load(unsigned index, magazine full) noexcept;
  void open(unsigned index) noexcept;
  void widen(unsigned index) noexcept;
  [[nodiscard]] bool has_much_room() const noexcept;
  [[nodiscard]] bool has_room_for(unsigned index) noexcept;
  [[nodiscard]] std::size_t blocks_to_take(unsigned index) noexcept;
  [[nodiscard]] bool make_room(unsigned index, std::size_t bytes, std::size_t room) noexcept;
  [[nodiscard]] bool try_reserve(std::size_t bytes) noexcept;
  void give_up_room() noexcept;
  [[nodiscard]] std::size_t free_bytes() const noexcept;
  [[nodiscard]] bool is_beyond_share() noexcept;
  [[nodiscard]] std::size_t taken_bytes(unsigned index) const noexcept;
  [[nodiscard]] bool free_budget(unsigned index) noexcept;
  [[nodiscard]] bool may_look_for_largest() noexcept;
  [[nodiscard]] unsigned largest_class(unsigned first, unsigned except) const noexcept;
  [[nodiscard]] bool halve_largest(unsigned index, std::size_t least_room) noexcept;
  [[nodiscard]] bool hand_over_largest(std::size_t least_bytes) noexcept;
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
  /// Room: two full magazines of each class of small blocks, larger blocks, and what those may still take.
  std::size_t reserved_bytes_ = 0;
  unsigned clock_hand_ = 0;  ///< Where the search for an idle class goes on.
  std::uint32_t seen_trims_ = 0;
  std::uint32_t denials_ = 0;  ///< Of room, to classes for which none was free.
  std::uint32_t frees_while_late_ = 0;
  std::size_t bytes_while_late_ = 0;  ///< Of the same frees.
  bool is_late_ = false;  ///< Whether the depot was when it was last asked: every free is looked at.
  cache_slots slots_;
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
