// typed_shared_control: the control block of a shared object pool of T: acquiring, and giving back.
#pragma once

#include <cistern/async_acquire.hpp>
#include <cistern/detail/objects/shared_control.hpp>
#include <cistern/detail/objects/typed_control.hpp>
#include <cistern/lease.hpp>

#include <memory_resource>
#include <optional>
#include <utility>

namespace cistern::detail {

template <class T, class Lifecycle>
class typed_shared_control final : public typed_control<T, Lifecycle, shared_control> {
  using base = typed_control<T, Lifecycle, shared_control>;

 public:
  using base::base;
  ~typed_shared_control() = default;

  lease<T> acquire(const source_location& where) {
    pool_slot* slot = this->take_idle();
    if (slot == nullptr || this->reason_to_refuse(*slot)) [[unlikely]] {
      slot = obtain_as_usual(slot);
    }
    return lend(*slot, where);
  }

  lease<T> acquire(const acquire_request& request, const source_location& where) {
    pool_slot* slot = request.stop.stop_requested() ? nullptr : this->take_idle();
    if (slot == nullptr || this->reason_to_refuse(*slot)) [[unlikely]] {
      slot = obtain_slowly(slot, request);
    }
    return lend(*slot, where);
  }

  /// An empty lease if nothing can be had without waiting. Throws what `create` throws, as pool_error.
  lease<T> try_acquire(const source_location& where) {
    pool_slot* slot = this->take_idle();
    if (slot == nullptr || this->reason_to_refuse(*slot)) [[unlikely]] {
      slot = obtain_without_waiting(slot);
    }
    return slot != nullptr ? lend(*slot, where) : lease<T>{};
  }

  /// Something to `co_await`, for a lease.
  template <class Executor>
  [[nodiscard]] auto acquire_async(acquire_request request, Executor executor, const source_location& where) {
    return acquire_awaiter<typed_shared_control, T, Executor>(*this, std::move(request), std::move(executor),
                                                              where);
  }
  /// Makes a lease of what a coroutine was granted, which can't wait once more: an object found dead is
  /// replaced by a new one, even while the factory should be left in peace.
  lease<T> redeem_without_waiting(pool_grant grant, const acquire_request& request,
                                  const source_location& where) {
    constexpr std::uint64_t no_thread = 0;
    while (grant.slot != nullptr) {
      if (!this->reason_to_refuse(*grant.slot)) {
        return lend(*grant.slot, where, no_thread);
      }
      const auto other = replace_dead(*grant.slot, true);
      if (!other) {
        throw pool_error(pool_errc::closed, "object_pool: the pool is closed");
      }
      grant = *other;
    }
    pool_slot& slot = this->create_granted();
    this->give_up_if_late(slot, request);
    return lend(slot, where, no_thread);
  }

  void give_back(pool_slot& slot) noexcept override {
    const std::uint64_t holder = slot.holder.load(std::memory_order_relaxed);
    if (holder != this_thread_number() && holder != 0) [[unlikely]] {
      this->crossed_threads();
    }
    if (!this->clean_up(slot)) [[unlikely]] {
      return;
    }
    if (this->ages()) {
      keep_if_young(slot);
    } else {
      keep(slot);
    }
  }

 private:
  void keep(pool_slot& slot) noexcept {
    slot.acquired_at.store(not_leased, std::memory_order_relaxed);
    // After a successful return the slot, and even this control block, may be gone.
    if (!this->return_idle(slot)) [[unlikely]] {
      this->put_back(slot);
    }
  }
  /// Not inlined, as the slow ways below: their frames would be paid for on the fast path.
  [[gnu::noinline]] void keep_if_young(pool_slot& slot) noexcept {
    if (this->still_young(slot)) {
      keep(slot);
    }
  }

  lease<T> lend(pool_slot& slot, const source_location& where,
                std::uint64_t holder = this_thread_number()) noexcept {
    slot.holder.store(holder, std::memory_order_relaxed);
    // A clock that starts at zero, or before, is taken for a little late.
    const auto at = this->coarse_now().time_since_epoch().count();
    return base::lend(slot, where, at > not_leased ? at : 1);
  }

  std::optional<pool_grant> replace_dead(pool_slot& slot, bool insists = false) noexcept {
    this->destroy_object(slot);
    return this->replace(slot, slot.reason, insists);
  }

  /// `dead` is an unusable object that the caller drew, or null. These return a slot and not a lease, which
  /// would have to lie in memory.
  [[gnu::noinline]] pool_slot* obtain_as_usual(pool_slot* dead) {
    acquire_request request;
    request.deadline = this->deadline_after(this->options().acquire_timeout);
    return obtain_slowly(dead, request);
  }

  [[gnu::noinline]] pool_slot* obtain_slowly(pool_slot* dead, const acquire_request& request) {
    for (;;) {
      auto grant = dead != nullptr ? replace_dead(*dead) : std::nullopt;
      if (!grant) {
        grant = this->obtain(request);
      }
      if (grant->slot == nullptr) {
        pool_slot& slot = this->create_granted();
        this->give_up_if_late(slot, request);
        return &slot;
      }
      if (!this->reason_to_refuse(*grant->slot)) {
        return grant->slot;
      }
      dead = grant->slot;
    }
  }

  /// Null if that is impossible.
  [[gnu::noinline]] pool_slot* obtain_without_waiting(pool_slot* dead) {
    for (;;) {
      const auto grant = dead != nullptr ? replace_dead(*dead) : this->try_obtain();
      if (!grant && dead == nullptr) {
        return nullptr;
      }
      if (grant && grant->slot == nullptr) {
        return &this->create_granted();
      }
      if (grant && !this->reason_to_refuse(*grant->slot)) {
        return grant->slot;
      }
      dead = grant ? grant->slot : nullptr;
    }
  }

  void destroy_self() noexcept override {
    std::pmr::polymorphic_allocator<> allocator(this->resource());
    allocator.delete_object(this);
  }
};

}  // namespace cistern::detail
