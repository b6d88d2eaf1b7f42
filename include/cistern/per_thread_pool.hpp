// per_thread_pool: the object pool whose threads keep their own idle objects, the way of Go's sync.Pool.
#pragma once

#include <cistern/detail/lifecycle_calls.hpp>
#include <cistern/detail/per_thread_core.hpp>
#include <cistern/lease.hpp>
#include <cistern/object_pool_policy.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <memory_resource>
#include <optional>
#include <stop_token>
#include <utility>

namespace cistern {

namespace detail {

template <class T, class Lifecycle>
class typed_per_thread_core final : public per_thread_core {
 public:
  static typed_per_thread_core* make(const object_pool_options& options, Lifecycle lifecycle,
                                     std::pmr::memory_resource* resource, pool_clock clock) {
    std::pmr::polymorphic_allocator<> allocator(resource);
    auto* const core =
        allocator.new_object<typed_per_thread_core>(options, std::move(lifecycle), resource, clock);
    try {
      core->warm(options.initial);
    } catch (...) {
      core->orphan();
      throw;
    }
    return core;
  }

  typed_per_thread_core(const object_pool_options& options, Lifecycle lifecycle,
                        std::pmr::memory_resource* resource, pool_clock clock)
      : per_thread_core(options, resource, calls::slot_type, clock), calls_{std::move(lifecycle)} {}
  ~typed_per_thread_core() = default;

  lease<T> acquire(const source_location& where) {
    for (;;) {
      duration::rep time = 0;
      pool_slot* slot = take_cached(time);
      if (slot == nullptr) [[unlikely]] {
        time = read_time();
        slot = take_elsewhere();
        if (slot == nullptr) {
          return lend(create_granted(), where, time);
        }
      }
      calls_.expect_clean(*slot, "object_pool: an idle object was written to");
      if (calls_.still_valid(*slot)) [[likely]] {
        return lend(*slot, where, time);
      }
      dispose(*slot, destroy_reason::invalid);
    }
  }

  bool adopt(T&& object) {
    pool_slot* const slot = reserve_for_adoption();
    if (slot == nullptr) {
      return false;
    }
    try {
      ::new (static_cast<void*>(std::addressof(calls::object(*slot)))) T(std::move(object));
    } catch (...) {
      cancel_adoption(*slot);
      throw;
    }
    finish_adoption(*slot);
    return true;
  }

  template <class Predicate>
  std::size_t evict_if(Predicate& condemned) {
    return evict_from(*this, calls_, condemned);
  }
  void put_all_back(pool_slot* first) noexcept {
    while (first != nullptr) {
      put_back(*std::exchange(first, first->link));
    }
  }

  void give_back(pool_slot& slot) noexcept override {
    if (!calls_.clean_up(slot)) [[unlikely]] {
      dispose(slot, destroy_reason::unclean);
      return;
    }
    if (!keep_cached(slot)) [[unlikely]] {
      put_back(slot);
    }
  }
  void discard(pool_slot& slot) noexcept override { dispose(slot, destroy_reason::discarded); }
  void detached(pool_slot& slot) noexcept override {
    std::destroy_at(std::addressof(calls::object(slot)));
    vacate(slot, destroy_reason::detached);
  }

 private:
  using calls = lifecycle_calls<T, Lifecycle>;

  lease<T> lend(pool_slot& slot, const source_location& where, duration::rep time) noexcept {
    slot.site.store(where);
    slot.acquired_at.store(time, std::memory_order_relaxed);
    slot.uses.store(slot.uses.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return lease<T>(static_cast<typed_slot<T>*>(&slot));
  }
  void construct_object(pool_slot& slot) override { calls_.construct(slot); }
  void destroy_object(pool_slot& slot) noexcept override { calls_.destroy(slot); }
  void destroy_self() noexcept override {
    std::pmr::polymorphic_allocator<> allocator(resource());
    allocator.delete_object(this);
  }

  calls calls_;
};

}  // namespace detail

/// A pool that never waits and never says no: each thread keeps the objects it gave back for its own next
/// acquire, without a lock; a thread that has none takes some that others keep, and only then creates.
///
/// Idle objects fade: one that stays unused during two calls of `trim` (or two ticks of `maintain`) is
/// destroyed. A thread that ends leaves its objects to the others.
///
/// Objects come back as they were left; a lifecycle with `reset` cleans them.
///
/// Of the options it heeds `initial`, `max_idle` (beyond it, an object given back to other than a thread's
/// own cache of up to 32 is destroyed) and `idle_timeout` (the period of `maintain` is half of it; a minute
/// if off). It never waits, so `max_size`, `empty`, `max_waiters` and `acquire_timeout` mean nothing; `order`
/// (fifo), `min_idle`, `max_lifetime` and `validate_after` are refused with `std::invalid_argument`.
///
/// Thread safety, lifetime and the rules for lifecycle, resource and clock are those of the shared pool.
/// Acquiring and giving back are O(1) while the thread's cache serves; otherwise O(threads).
template <class T, class Lifecycle>
class object_pool<T, Lifecycle, per_thread> {
  static_assert(object_lifecycle<Lifecycle, T>, "the lifecycle needs a member T create()");

 public:
  using value_type = T;
  using lifecycle_type = Lifecycle;

  /// Creates `options.initial` objects. Throws `std::invalid_argument`, or `pool_error` (`factory_failed`).
  explicit object_pool(const object_pool_options& options = {}, Lifecycle lifecycle = Lifecycle{},
                       std::pmr::memory_resource* resource = nullptr,
                       pool_clock clock = &std::chrono::steady_clock::now)
      : core_(core::make(options, std::move(lifecycle), resource_or_new_delete(resource), clock)) {}
  object_pool(const object_pool&) = delete;
  object_pool& operator=(const object_pool&) = delete;
  /// Closes the pool.
  ~object_pool() { core_->orphan(); }

  /// An idle object, or a new one. Throws `pool_error`: `closed`, or `factory_failed` with its cause.
  lease<T> acquire(source_location where = source_location::current()) { return core_->acquire(where); }
  /// As `acquire`, but nullopt if the pool is closed.
  std::optional<lease<T>> try_acquire(source_location where = source_location::current()) {
    try {
      return core_->acquire(where);
    } catch (const pool_error& error) {
      if (error.code() != pool_errc::closed) {
        throw;
      }
      return std::nullopt;
    }
  }

  /// Takes in an object made elsewhere, unless the pool is closed or `max_idle` are idle already.
  bool adopt(T&& object) requires std::move_constructible<T> { return core_->adopt(std::move(object)); }
  /// Creates objects until `idle_objects` are idle. Throws `pool_error` (`factory_failed`).
  void warm(std::size_t idle_objects) { core_->warm(idle_objects); }
  /// Destroys the idle objects for which `predicate(const T&)` is true; returns how many.
  template <std::predicate<const T&> Predicate>
  std::size_t evict_if(Predicate predicate) {
    return core_->evict_if(predicate);
  }
  /// Destroys every object that exists now: the idle ones at once, the others when they come back.
  void invalidate_all() noexcept { core_->invalidate_all(); }
  /// Destroys the objects, of all threads, that have been idle since before the last call; returns how many.
  std::size_t trim() noexcept { return core_->trim(); }
  /// Trims, and returns when to do so again (`time_point::max()`: nothing is idle).
  time_point maintain(time_point now) noexcept { return core_->maintain(now); }
  time_point maintain() noexcept { return maintain(core_->now()); }
  /// From now on every acquire fails with `closed`; objects are destroyed now, or when they come back.
  /// Idempotent.
  void close() noexcept { core_->close(); }
  /// Closes the pool and waits for the objects in use; see the shared pool. The ages of objects still out may
  /// be too long by the time of their thread's last 16 acquires.
  [[nodiscard]] drain_report drain(time_point deadline) { return core_->drain(deadline); }
  [[nodiscard]] drain_report drain(duration timeout) {
    return drain(timeout == forever ? time_point::max() : core_->now() + timeout);
  }
  /// O(objects + threads).
  [[nodiscard]] object_pool_statistics statistics() const { return core_->statistics(); }
  /// Objects idle in all threads' caches. O(threads).
  [[nodiscard]] std::size_t idle() const noexcept { return core_->idle(); }
  /// Whether the accounts and lists agree with each other: for tests.
  [[nodiscard]] bool check_invariants() const noexcept { return core_->check_invariants(); }

 private:
  using core = detail::typed_per_thread_core<T, Lifecycle>;
  core* core_;
};

}  // namespace cistern
