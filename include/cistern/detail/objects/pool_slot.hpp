// pool_slot: the room of one pooled object, and the way a lease finds back to its pool.
#pragma once

#include <cistern/object_pool_options.hpp>
#include <cistern/object_pool_statistics.hpp>
#include <cistern/source_location.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace cistern::detail {

struct pool_slot;

/// What a lease needs of its pool: the pool's control block, which lives until the last lease is gone.
class lease_home {
 public:
  virtual void give_back(pool_slot& slot) noexcept = 0;
  virtual void discard(pool_slot& slot) noexcept = 0;
  /// The object was moved out of the slot by `lease::detach`.
  virtual void detached(pool_slot& slot) noexcept = 0;
  [[nodiscard]] virtual time_point now() const noexcept = 0;

 protected:
  ~lease_home() = default;
};

/// A number that no other thread of this process ever has; never 0.
[[nodiscard]] std::uint64_t next_thread_number() noexcept;
inline thread_local constinit std::uint64_t thread_number = 0;
[[nodiscard]] inline std::uint64_t this_thread_number() noexcept {
  if (thread_number == 0) [[unlikely]] {
    thread_number = next_thread_number();
  }
  return thread_number;
}

/// Positive while leased: the time since the clock's epoch. Otherwise zero; or, for an idle object of a
/// per-thread pool, the number of its `trim` when it became idle, negative.
inline constexpr duration::rep not_leased = 0;

/// What an idle stack reads of a slot, kept apart: a pop that fails may have read it after the slot was gone.
struct slot_place {
  std::atomic<std::uint32_t> next_index{0};  // link in an idle stack, or in the list of vacant places
  std::atomic<std::uint32_t> depth{0};       // idle objects from here down that stack
  std::atomic<pool_slot*> slot{nullptr};     // null: vacant
};

/// Written by whoever holds the slot exclusively (the lease, or the pool under its mutex), except for the
/// atomic members, which reports read at any time; those reads need no order, only untorn values.
struct pool_slot {
  /// What every acquire and return touches comes first, in one cache line.
  slot_place* place = nullptr;
  std::uint32_t index = 0;  // of the place
  destroy_reason reason{};  // of an object that is about to be destroyed
  bool watched = false;     // a memory checker looks on: see object_guard
  lease_home* home = nullptr;
  std::atomic<std::uint64_t> uses{0};  // times this object was acquired
  std::atomic<duration::rep> acquired_at{not_leased};
  std::atomic<std::uint64_t> holder{0};  // thread number; 0: no thread in particular
  atomic_source_location site;           // who acquired it
  std::uint64_t generation = 0;          // of `invalidate_all`
  time_point created_at{};
  time_point expires_at = time_point::max();
  time_point idle_since{};
  std::size_t retained_bytes = 0;
  pool_slot* link = nullptr;  // in lists private to the pool

  [[nodiscard]] bool leased() const noexcept {
    return acquired_at.load(std::memory_order_relaxed) > not_leased;
  }
};

/// A slot with room for a T. A cache line of its own, so that neighbours don't disturb each other.
template <class T>
struct alignas(alignof(T) > 64 ? alignof(T) : 64) typed_slot : pool_slot {
  union {
    T object;
  };
  /// The object's life is managed by the pool: it is there exactly while the slot is idle or leased.
  typed_slot() noexcept {}  // NOLINT(modernize-use-equals-default): would be deleted, for T's sake
  ~typed_slot() {}          // NOLINT(modernize-use-equals-default)
};

}  // namespace cistern::detail
