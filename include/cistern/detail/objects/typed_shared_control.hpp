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
    if (slot == nullptr || this->needs_look(*slot)) [[unlikely]] {
      slot = obtain_as_usual(slot);
    }
    return lend(*slot, where);
  }

  lease<T> acquire(const acquire_request& request, const source_location& where) {
    pool_slot* slot = request.stop.stop_requested() ? nullptr : this->take_idle();
    if (slot == nullptr || this->needs_look(*slot)) [[unlikely]] {
      slot = obtain_slowly(slot, request);
    }
    return lend(*slot, where);
  }

  /// An empty lease if nothing can be had without waiting. Throws what `create` throws, as pool_error.
  lease<T> try_acquire(const source_location& where) {
    pool_slot* slot = this->take_idle();
    if (slot == nullptr || this->needs_look(*slot)) [[unlikely]] {
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
    const bool late_already = this->deadline_passed(request);
    while (grant.slot != nullptr) {
      if (!this->reason_to_refuse(*grant.slot)) {
        this->give_up_if_validated_late(*grant.slot, request, late_already);
        return lend(*grant.slot, where, no_thread);
      }
      grant = replace_dead(*grant.slot, request, true).value();
    }
    pool_slot& slot = this->create_granted();
    this->give_up_if_late(slot, request);
    return lend(slot, where, no_thread);
  }

  void give_back(pool_slot& slot) noexcept override {
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

  std::optional<pool_grant> replace_dead(pool_slot& slot, const acquire_request& request,
                                         bool insists = false) {
    this->destroy_object(slot);
    return this->replace(slot, slot.reason, request, insists);
  }

  /// `found` is an object that the caller drew and that needs a look, or null. These return a slot and not a
  /// lease, which would have to lie in memory.
  [[gnu::noinline]] pool_slot* obtain_as_usual(pool_slot* found) {
    acquire_request request;
    request.deadline = this->deadline_after(this->options().acquire_timeout);
    return obtain_slowly(found, request);
  }

  [[gnu::noinline]] pool_slot* obtain_slowly(pool_slot* found, const acquire_request& request) {
    const bool late_already = this->deadline_passed(request);
    for (;;) {
      std::optional<pool_grant> grant;
      if (found == nullptr) {
        grant = this->obtain(request);
      } else if (!this->reason_to_refuse(*found)) {
        this->give_up_if_validated_late(*found, request, late_already);
        return found;
      } else {
        grant = replace_dead(*found, request);
      }
      if (grant && grant->slot == nullptr) {
        pool_slot& made = this->create_granted();
        this->give_up_if_late(made, request);
        return &made;
      }
      found = grant ? grant->slot : nullptr;
    }
  }

  /// Null if that is impossible.
  [[gnu::noinline]] pool_slot* obtain_without_waiting(pool_slot* found) {
    for (;;) {
      std::optional<pool_grant> grant;
      if (found != nullptr) {
        if (!this->reason_to_refuse(*found)) {
          return found;
        }
        grant = replace_dead(*found, {.may_wait = false});
      } else if (grant = this->try_obtain(); !grant) {
        return nullptr;
      }
      if (grant && grant->slot == nullptr) {
        return &this->create_granted();
      }
      found = grant ? grant->slot : nullptr;
    }
  }

  void destroy_self() noexcept override {
    std::pmr::polymorphic_allocator<> allocator(this->resource());
    allocator.delete_object(this);
  }
};

}  // namespace cistern::detail
