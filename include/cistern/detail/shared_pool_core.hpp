// shared_pool_core: the typed half of a shared object pool: the objects, and the user's functions around
// them.
#pragma once

#include <cistern/detail/lifecycle_calls.hpp>
#include <cistern/detail/object_pool_core.hpp>
#include <cistern/lease.hpp>
#include <cistern/object_lifecycle.hpp>

#include <memory>
#include <memory_resource>
#include <new>
#include <type_traits>
#include <utility>

namespace cistern::detail {

template <class T, class Lifecycle>
class shared_pool_core final : public object_pool_core {
 public:
  // A new control block, made and later destroyed with `resource`. Throws std::invalid_argument, pool_error.
  static shared_pool_core* make(const object_pool_options& options, Lifecycle lifecycle,
                                std::pmr::memory_resource* resource, pool_clock clock) {
    std::pmr::polymorphic_allocator<> allocator(resource);
    auto* const core = allocator.new_object<shared_pool_core>(options, std::move(lifecycle), resource, clock);
    try {
      core->warm(options.initial);
    } catch (...) {
      core->orphan();
      throw;
    }
    return core;
  }

  shared_pool_core(const object_pool_options& options, Lifecycle lifecycle,
                   std::pmr::memory_resource* resource, pool_clock clock)
      : object_pool_core(options, resource, calls::slot_type, clock),
        calls_{std::move(lifecycle)},
        ages_idle_(options.idle_timeout != off ||
                   (has_validate<Lifecycle, T> && options.validate_after > duration::zero())),
        ages_(options.max_lifetime != off) {}
  ~shared_pool_core() = default;

  lease<T> acquire(const source_location& where) {
    pool_slot* const slot = take_idle();
    if (slot == nullptr || reason_to_refuse(*slot)) [[unlikely]] {
      acquire_request request;
      request.deadline = deadline_after(options().acquire_timeout);
      return acquire_slowly(slot, request, where);
    }
    return lend(*slot, where);
  }

  lease<T> acquire(const acquire_request& request, const source_location& where) {
    pool_slot* const slot = request.stop.stop_requested() ? nullptr : take_idle();
    if (slot == nullptr || reason_to_refuse(*slot)) [[unlikely]] {
      return acquire_slowly(slot, request, where);
    }
    return lend(*slot, where);
  }

  // An empty lease if nothing can be had without waiting. Throws what `create` throws, as pool_error.
  lease<T> try_acquire(const source_location& where) {
    pool_slot* slot = take_idle();
    if (slot != nullptr && !reason_to_refuse(*slot)) [[likely]] {
      return lend(*slot, where);
    }
    for (;;) {
      pool_errc why{};
      auto grant = slot != nullptr ? replace_dead(*slot) : try_obtain(why);
      if (!grant && slot == nullptr) {
        return {};
      }
      slot = grant ? grant->slot : nullptr;
      if (grant && slot == nullptr) {
        return lend(create_granted(), where);
      }
      if (slot != nullptr && !reason_to_refuse(*slot)) {
        return lend(*slot, where);
      }
    }
  }

  // Makes a lease of what a coroutine was granted, which can't wait once more: an object found dead is
  // replaced by a new one, even while the factory should be left in peace.
  lease<T> redeem_without_waiting(pool_grant grant, const acquire_request& request,
                                  const source_location& where) {
    constexpr std::uint64_t no_thread = 0;
    while (grant.slot != nullptr) {
      if (!reason_to_refuse(*grant.slot)) {
        return lend(*grant.slot, where, no_thread);
      }
      const auto other = replace_dead(*grant.slot, true);
      if (!other) {
        throw pool_error(pool_errc::closed, "object_pool: the pool is closed");
      }
      grant = *other;
    }
    pool_slot& slot = create_granted();
    give_up_if_late(slot, request);
    return lend(slot, where, no_thread);
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

  void give_back(pool_slot& slot) noexcept override {
    const std::uint64_t holder = slot.holder.load(std::memory_order_relaxed);
    if (holder != this_thread_number() && holder != 0) [[unlikely]] {
      crossed_threads();
    }
    if (!calls_.clean_up(slot)) [[unlikely]] {
      dispose(slot, destroy_reason::unclean);
      return;
    }
    if (ages_ || ages_idle_) {
      slot.idle_since = coarse_now();
      if (slot.expires_at <= slot.idle_since) {
        dispose(slot, destroy_reason::expired);
        return;
      }
    }
    slot.acquired_at.store(not_leased, std::memory_order_relaxed);
    // After a successful return the slot, and even this control block, may be gone.
    if (!return_idle(slot)) [[unlikely]] {
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

  lease<T> lend(pool_slot& slot, const source_location& where,
                std::uint64_t holder = this_thread_number()) noexcept {
    slot.site.store(where);
    slot.holder.store(holder, std::memory_order_relaxed);
    // A clock that starts at zero, or before, is taken for a little late.
    const auto at = coarse_now().time_since_epoch().count();
    slot.acquired_at.store(at > not_leased ? at : 1, std::memory_order_relaxed);
    slot.uses.store(slot.uses.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return lease<T>(static_cast<typed_slot<T>*>(&slot));
  }

  // Why an idle object can't be given out, kept in the slot; false if it can.
  [[nodiscard]] bool reason_to_refuse(pool_slot& slot) noexcept {
    calls_.expect_clean(slot, "object_pool: an idle object was written to");
    if (ages_ && slot.expires_at <= now()) {
      slot.reason = destroy_reason::expired;
      return true;
    }
    if constexpr (has_validate<Lifecycle, T>) {
      const bool due = !ages_idle_ || options().validate_after <= duration::zero() ||
                       now() - slot.idle_since >= options().validate_after;
      if (due && !calls_.still_valid(slot)) {
        slot.reason = destroy_reason::invalid;
        return true;
      }
    }
    return false;
  }

  std::optional<pool_grant> replace_dead(pool_slot& slot, bool insists = false) noexcept {
    calls_.destroy(slot);
    return replace(slot, slot.reason, insists);
  }

  // `dead` is an unusable object that the caller drew, or null.
  lease<T> acquire_slowly(pool_slot* dead, const acquire_request& request, const source_location& where) {
    for (;;) {
      auto grant = dead != nullptr ? replace_dead(*dead) : std::nullopt;
      if (!grant) {
        grant = obtain(request);
      }
      if (grant->slot == nullptr) {
        pool_slot& slot = create_granted();
        give_up_if_late(slot, request);
        return lend(slot, where);
      }
      if (!reason_to_refuse(*grant->slot)) {
        return lend(*grant->slot, where);
      }
      dead = grant->slot;
    }
  }

  void construct_object(pool_slot& slot) override { calls_.construct(slot); }
  void destroy_object(pool_slot& slot) noexcept override { calls_.destroy(slot); }
  void destroy_self() noexcept override {
    std::pmr::polymorphic_allocator<> allocator(resource());
    allocator.delete_object(this);
  }

  calls calls_;
  const bool ages_idle_;  // the time of each return matters
  const bool ages_;       // the age of each object matters
};

}  // namespace cistern::detail
