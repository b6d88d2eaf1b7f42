// per_thread_control: the control block of a per-thread object pool, but for what depends on the type of its
// objects.
#pragma once

#include <cistern/detail/base/thread_directory.hpp>
#include <cistern/detail/objects/object_cache.hpp>
#include <cistern/detail/objects/object_pool_control.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Idle objects are in the caches of the threads that gave them back, or, beyond what a cache holds, in the
/// depot. A thread whose cache is empty takes a batch from the depot, then half of another thread's cache,
/// then creates.
///
/// Invariant, whenever no thread is inside: total == cached + depot + creating + objects in users' hands.
class per_thread_control : public object_pool_control, private cache_owner {
 public:
  /// Throws std::invalid_argument.
  per_thread_control(const object_pool_options& options, std::pmr::memory_resource* resource,
                     slot_table::slot_type type, pool_clock clock);

  /// Fast paths. Null, or false: take the slow one. `time` gets the time for reports of long holders: with
  /// the system's clock, as it was a few acquires ago.
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
    const bool keep = cache->count() < cache_limit_ && of_this_generation(slot);
    if (keep) {
      slot.acquired_at.store(-epoch_.load(std::memory_order_relaxed), std::memory_order_relaxed);
      cache->push(slot);
    }
    // From here on the object, and even this control block, may be gone.
    cache->leave();
    return keep;
  }

  /// An idle object from the depot or another thread; null: there is none, and the caller has the right to
  /// create. Throws pool_error if the pool is closed.
  [[nodiscard]] pool_slot* take_elsewhere();
  /// The same, for a caller who also gives up on a stop token.
  void expect_not_stopped(const acquire_request& request);
  void put_back(pool_slot& slot) noexcept final;

  void resize(std::size_t max_size);
  void invalidate_all() noexcept;
  std::size_t trim(std::size_t keep_idle) noexcept;
  time_point maintain(time_point time);
  void close() noexcept final;
  /// Hides that of the base: an orphan is no longer found by threads that end.
  void orphan() noexcept;
  /// Takes all idle objects, as a list through `link`; and puts them back.
  [[nodiscard]] pool_slot* take_all_idle() noexcept;
  void put_all_back(pool_slot* first) noexcept;

  /// For `take_cached`.
  [[nodiscard]] duration::rep read_time() const noexcept;

 protected:
  ~per_thread_control();

 private:
  /// This thread's cache, or null.
  [[nodiscard]] object_cache* find_cache() const noexcept {
    void* const cache = ticket_.at_hand();
    return static_cast<object_cache*>(cache != nullptr ? cache : ticket_.find());
  }

  void retire(void* cache) noexcept final;
  void forget_other_threads() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS final;

  [[nodiscard]] std::size_t idle_count() noexcept CISTERN_REQUIRES(mutex_) final;
  [[nodiscard]] std::size_t max_size() const noexcept CISTERN_REQUIRES(mutex_) final { return no_limit; }
  [[nodiscard]] bool has_room_to_adopt() noexcept CISTERN_REQUIRES(mutex_) final {
    return idle_count() < max_idle_;
  }
  [[nodiscard]] bool has_room_to_idle() noexcept CISTERN_REQUIRES(mutex_) final {
    return idle_count() < max_idle_;
  }
  void report(object_pool_statistics& statistics) noexcept CISTERN_REQUIRES(mutex_) final;
  [[nodiscard]] bool policy_invariants() noexcept CISTERN_REQUIRES(mutex_) final;

  void limit_idle(std::size_t max_idle) noexcept CISTERN_REQUIRES(mutex_);
  [[nodiscard]] object_cache* attach_cache() noexcept CISTERN_REQUIRES(mutex_);
  [[nodiscard]] pool_slot* steal() noexcept CISTERN_REQUIRES(mutex_);
  void take_back(object_cache& cache) noexcept CISTERN_REQUIRES(mutex_);
  void fill_from_depot(object_cache& cache) noexcept CISTERN_REQUIRES(mutex_);
  void make_room(object_cache& cache) noexcept CISTERN_REQUIRES(mutex_);
  void push_depot(pool_slot& slot) noexcept CISTERN_REQUIRES(mutex_);
  [[nodiscard]] pool_slot* pop_depot() noexcept CISTERN_REQUIRES(mutex_);
  /// Takes out the idle objects for which `goes(slot)`, of all threads, as a list through `link`.
  template <class Condition>
  [[nodiscard]] pool_slot* take_if(Condition goes) noexcept CISTERN_REQUIRES(mutex_);
  [[nodiscard]] pool_slot* claim_everything() noexcept CISTERN_REQUIRES(mutex_);
  void unclaim_everything() noexcept CISTERN_REQUIRES(mutex_);

  const bool asymmetric_;
  const std::uint64_t time_mask_;  // 15, or 0 if the clock is the user's
  std::size_t max_idle_ CISTERN_GUARDED_BY(mutex_) = no_limit;
  std::uint32_t cache_limit_ = 0;  // changed with every cache claimed
  cache_ticket ticket_;
  std::atomic<duration::rep> epoch_{0};  // calls of `trim`

  object_cache* caches_ CISTERN_GUARDED_BY(mutex_) = nullptr;
  object_cache* free_caches_ CISTERN_GUARDED_BY(mutex_) = nullptr;
  pool_slot* depot_ CISTERN_GUARDED_BY(mutex_) = nullptr;
  std::size_t depot_count_ CISTERN_GUARDED_BY(mutex_) = 0;
};

}  // namespace cistern::detail
