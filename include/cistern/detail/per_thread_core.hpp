// per_thread_core: everything of a per-thread object pool that doesn't depend on the type of its objects.
#pragma once

#include <cistern/detail/object_cache.hpp>
#include <cistern/detail/pool_slot.hpp>
#include <cistern/detail/slot_table.hpp>
#include <cistern/object_pool_options.hpp>
#include <cistern/object_pool_statistics.hpp>
#include <cistern/pool_error.hpp>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory_resource>
#include <mutex>
#include <stop_token>

namespace cistern::detail {

// The control block of a per-thread pool; lives until the pool object and every lease are gone.
//
// Idle objects are in the caches of the threads that gave them back, or, beyond what a cache holds, in the
// depot. A thread whose cache is empty takes a batch from the depot, then half of another thread's cache,
// then creates.
//
// Invariant, whenever no thread is inside: total == cached + depot + creating + objects in users' hands.
class per_thread_core : public lease_home, public object_cache_home {
 public:
  per_thread_core(const object_pool_options& options, std::pmr::memory_resource* resource,
                  slot_table::slot_type type, pool_clock clock);
  per_thread_core(const per_thread_core&) = delete;
  per_thread_core& operator=(const per_thread_core&) = delete;

  // Fast paths. Null, or false: take the slow one. `time` gets the time for reports of long holders: with the
  // system's clock, as it was a few acquires ago.
  [[nodiscard]] pool_slot* take_cached(duration::rep& time) noexcept {
    object_cache* const cache = find_cache();
    if (cache == nullptr || !cache->enter(asymmetric_)) [[unlikely]] {
      return nullptr;
    }
    pool_slot* const slot = cache->pop();
    cache->leave();
    // Every 16th use of an object reads the clock, for all objects of the thread.
    if (slot != nullptr && (slot->uses.load(std::memory_order_relaxed) & time_mask_) == 0) [[unlikely]] {
      cache->recent_time = read_time();
    }
    time = cache->recent_time;
    return slot;
  }
  [[nodiscard]] bool keep_cached(pool_slot& slot) noexcept {
    object_cache* const cache = find_cache();
    if (cache == nullptr || !cache->enter(asymmetric_)) [[unlikely]] {
      return false;
    }
    // Relaxed: whoever changes the two claims every cache afterwards, so what is read here inside is current.
    const bool keep =
        cache->count() < cache_limit_ && slot.generation == generation_.load(std::memory_order_relaxed);
    if (keep) {
      slot.acquired_at.store(-epoch_.load(std::memory_order_relaxed), std::memory_order_relaxed);
      cache->push(slot);
    }
    // From here on the object, and even this control block, may be gone.
    cache->leave();
    return keep;
  }

  // An idle object from the depot or another thread; null: there is none, and the caller has the right to
  // create. Throws pool_error if the pool is closed.
  [[nodiscard]] pool_slot* take_elsewhere();
  [[nodiscard]] pool_slot& create_granted();
  void put_back(pool_slot& slot) noexcept;
  void dispose(pool_slot& slot, destroy_reason reason) noexcept;
  void vacate(pool_slot& slot, destroy_reason reason) noexcept;
  // Null if the pool is closed, or has `max_idle` idle objects.
  [[nodiscard]] pool_slot* reserve_for_adoption();
  void cancel_adoption(pool_slot& slot) noexcept;
  void finish_adoption(pool_slot& slot) noexcept;

  void warm(std::size_t idle_objects);
  void invalidate_all() noexcept;
  std::size_t trim() noexcept;
  time_point maintain(time_point now) noexcept;
  void close() noexcept;
  [[nodiscard]] drain_report drain(time_point deadline);
  [[nodiscard]] object_pool_statistics statistics();
  [[nodiscard]] std::size_t idle() noexcept;
  [[nodiscard]] bool check_invariants() noexcept;
  [[nodiscard]] pool_slot* take_all_idle() noexcept;
  void dispose_all(pool_slot* first) noexcept;
  void orphan() noexcept;
  void retire(object_cache& cache) noexcept final;

  [[nodiscard]] time_point now() const noexcept final { return clock_(); }
  void crossed_threads() noexcept final {}
  [[nodiscard]] duration::rep read_time() const noexcept;

 protected:
  ~per_thread_core();
  [[nodiscard]] std::pmr::memory_resource* resource() const noexcept { return resource_; }

 private:
  class section;  // a stretch of code under the mutex

  virtual void construct_object(pool_slot& slot) = 0;
  virtual void destroy_object(pool_slot& slot) noexcept = 0;
  virtual void destroy_self() noexcept = 0;

  [[nodiscard]] object_cache* find_cache() const noexcept {
    const object_cache_directory& here = object_caches_here;
    if (number_ < here.size && here.entries[number_].serial == serial_) [[likely]] {
      object_cache* const cache = here.entries[number_].cache;
      if (cache == nullptr) {
        __builtin_unreachable();  // an entry with a serial has a cache: saves the callers asking
      }
      return cache;
    }
    return nullptr;
  }

  // All below need the mutex.
  [[nodiscard]] object_cache* attach_cache() noexcept;
  [[nodiscard]] pool_slot* steal() noexcept;
  void fill_from_depot(object_cache& cache) noexcept;
  void make_room(object_cache& cache) noexcept;
  void push_depot(pool_slot& slot) noexcept;
  [[nodiscard]] pool_slot* pop_depot() noexcept;
  [[nodiscard]] std::size_t count_idle() const noexcept;
  [[nodiscard]] pool_slot& take_vacant();
  void release_slot(pool_slot& slot) noexcept;
  [[nodiscard]] pool_slot* claim_everything() noexcept;
  void unclaim_everything() noexcept;
  [[nodiscard]] std::vector<outstanding_lease> holders() const;

  const object_pool_options options_;
  std::pmr::memory_resource* const resource_;
  const pool_clock clock_;
  const bool asymmetric_;
  const std::uint64_t time_mask_;  // 15, or 0 if the clock is the user's
  const std::uint32_t cache_limit_;
  std::uint32_t number_ = 0;  // in object_cache_directory
  std::uint64_t serial_ = 0;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<duration::rep> epoch_{0};  // calls of `trim`

  std::mutex mutex_;
  std::condition_variable drained_;
  slot_table slots_;
  bool closed_ = false;
  bool orphaned_ = false;
  object_cache* caches_ = nullptr;
  object_cache* free_caches_ = nullptr;
  pool_slot* depot_ = nullptr;
  std::size_t depot_count_ = 0;
  pool_slot* vacant_ = nullptr;
  std::uint32_t slots_used_ = 0;
  std::size_t total_ = 0;
  std::size_t creating_ = 0;
  std::uint64_t created_ = 0, adopted_ = 0, factory_failures_ = 0, retired_uses_ = 0;
  std::array<std::uint64_t, destroy_reason_count> destroyed_{};
};

}  // namespace cistern::detail
