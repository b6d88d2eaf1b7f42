// typed_control: what the control blocks of both policies do with objects of type T and the user's functions.
#pragma once

#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/lifecycle_calls.hpp>
#include <cistern/detail/objects/object_pool_control.hpp>
#include <cistern/lease.hpp>
#include <cistern/object_lifecycle.hpp>

#include <cstddef>
#include <memory>
#include <memory_resource>
#include <type_traits>
#include <utility>

namespace cistern::detail {

/// A new control block, made and later destroyed with `resource`. Throws std::invalid_argument, pool_error.
template <class Control, class Lifecycle>
[[nodiscard]] Control* make_control(const object_pool_options& options, Lifecycle lifecycle,
                                    std::pmr::memory_resource* resource, pool_clock clock) {
  std::pmr::polymorphic_allocator<> allocator(resource);
  struct orphans {
    void operator()(Control* control) const noexcept { control->orphan(); }
  };
  const auto make = [&] {
    const no_cancellation of_the_resource;  // which gets the memory back if the options are refused
    return allocator.new_object<Control>(options, std::move(lifecycle), resource, clock);
  };
  std::unique_ptr<Control, orphans> unless_warm(make());
  unless_warm->warm(options.initial);
  return unless_warm.release();
}

/// `Untyped` is the control block that it completes.
template <class T, class Lifecycle, class Untyped>
class typed_control : public Untyped {
 public:
  typed_control(const object_pool_options& options, Lifecycle lifecycle, std::pmr::memory_resource* resource,
                pool_clock clock)
      : Untyped(options, resource, calls::slot_type, clock),
        calls_{std::move(lifecycle)},
        lifetimes_(options.max_lifetime != forever),
        ages_(lifetimes_ || options.idle_timeout != forever ||
              (has_validate<Lifecycle, T> && options.validate_after > duration::zero())) {}

  bool adopt(T&& object) {
    pool_slot* const slot = this->reserve_for_adoption();
    if (slot == nullptr) {
      return false;
    }
    unfinished_creation adoption{*this, slot};
    calls::construct_from(*slot, std::move(object));
    adoption.finished = true;
    this->finish_adoption(*slot);
    return true;
  }

  /// Destroys the idle objects that `condemned` picks; returns how many.
  template <class Predicate>
  std::size_t evict_if(Predicate& condemned) {
    eviction all{*this, this->take_all_idle()};
    std::size_t count = 0;
    while (all.rest != nullptr) {
      const bool evict = [&] {
        const typename calls::allowed meanwhile(*all.rest);
        return condemned(std::as_const(calls::object(*all.rest)));
      }();
      pool_slot* const slot = std::exchange(all.rest, all.rest->link);
      slot->link = nullptr;
      if (evict) {
        slot->link = std::exchange(all.gone, slot);
        ++count;
      } else {
        *all.kept_end = slot;
        all.kept_end = &slot->link;
      }
    }
    return count;
  }

  void discard(pool_slot& slot) noexcept final { this->dispose(slot, destroy_reason::discarded); }
  void detached(pool_slot& slot) noexcept final {
    calls::destroy_moved_from(slot);
    this->vacate(slot, destroy_reason::detached);
  }

 protected:
  using calls = lifecycle_calls<T, Lifecycle>;

  ~typed_control() = default;

  /// Makes what was given back fit for the next user; false if it had to be destroyed instead.
  [[nodiscard]] bool clean_up(pool_slot& slot) noexcept {
    if (calls_.clean_up(slot)) [[likely]] {
      return true;
    }
    this->dispose(slot, destroy_reason::unclean);
    return false;
  }
  /// Whether `still_young` is to be asked about each object that comes back.
  [[nodiscard]] bool ages() const noexcept { return ages_; }
  /// After a validation, which takes its time. Whose deadline had passed before wants what is at hand.
  void give_up_if_validated_late([[maybe_unused]] pool_slot& slot,
                                 [[maybe_unused]] const acquire_request& request,
                                 [[maybe_unused]] bool late_already) {
    if constexpr (has_validate<Lifecycle, T>) {
      if (request.stop.stop_requested() || (!late_already && this->deadline_passed(request))) {
        this->give_up_if_late(slot, request);
      }
    }
  }
  /// Notes when the object came back; false if it was too old, and had to be destroyed.
  [[nodiscard]] bool still_young(pool_slot& slot) noexcept {
    slot.idle_since = this->coarse_now();
    if (slot.expires_at > slot.idle_since) {
      return true;
    }
    this->dispose(slot, destroy_reason::expired);
    return false;
  }

  /// False: an idle object can be given out as it is.
  [[nodiscard]] bool needs_look(const pool_slot& slot) const noexcept {
    if constexpr (checked_build && has_clean<Lifecycle, T>) {
      return true;
    }
    return validation_due(slot) || (lifetimes_ && has_expired(slot));
  }
  /// Why an idle object can't be given out, kept in the slot; false if it can.
  [[nodiscard]] bool reason_to_refuse(pool_slot& slot) {
    looked_at guard{*this, slot};
    calls_.expect_clean(slot, "object_pool: an idle object was written to");
    bool refused = false;
    if (lifetimes_ && has_expired(slot)) {
      slot.reason = destroy_reason::expired;
      refused = true;
    } else if (validation_due(slot)) {
      slot.reason = destroy_reason::invalid;
      refused = !calls_.still_valid(slot);
    }
    guard.finished = true;
    return refused;
  }

  /// Hands the object out. `time`: see `pool_slot::acquired_at`.
  lease<T> lend(pool_slot& slot, const source_location& where, duration::rep time) noexcept {
    calls::allow(slot);
    slot.site.store(where);
    slot.acquired_at.store(time, std::memory_order_relaxed);
    slot.uses.store(slot.uses.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return lease<T>(static_cast<typed_slot<T>*>(&slot));
  }

  void destroy_object(pool_slot& slot) noexcept final { calls_.destroy(slot); }

 private:
  [[nodiscard]] bool validation_due([[maybe_unused]] const pool_slot& slot) const noexcept {
    if constexpr (has_validate<Lifecycle, T>) {
      const duration after = this->options().validate_after;
      return after <= duration::zero() || this->now() - slot.idle_since >= after;
    } else {
      return false;
    }
  }
  /// Not inlined: its frame would be paid for on the fast path of pools without lifetimes.
  [[nodiscard, gnu::noinline]] bool has_expired(const pool_slot& slot) const noexcept {
    return slot.expires_at <= this->now();
  }
  void construct_object(pool_slot& slot) final { calls_.construct(slot); }

  /// An object that its user's functions look at: if the thread ends there, nobody knows its state.
  struct looked_at {
    typed_control& control;
    pool_slot& slot;
    bool finished = false;

    looked_at(typed_control& owner, pool_slot& one) noexcept : control(owner), slot(one) {
      calls::allow(slot);
    }
    looked_at(const looked_at&) = delete;
    looked_at& operator=(const looked_at&) = delete;
    ~looked_at() {
      if (finished) {
        calls::forbid(slot);
      } else {
        control.dispose(slot, destroy_reason::invalid);
      }
    }
  };

  /// Whatever happens, each object ends up on one side or the other.
  struct eviction {
    typed_control& control;
    pool_slot* rest;
    pool_slot* kept = nullptr;
    pool_slot** kept_end = &kept;
    pool_slot* gone = nullptr;

    eviction(typed_control& owner, pool_slot* all) noexcept : control(owner), rest(all) {}
    eviction(const eviction&) = delete;
    eviction& operator=(const eviction&) = delete;
    ~eviction() {
      *kept_end = rest;
      control.put_all_back(kept);
      control.dispose_all(gone, destroy_reason::evicted);
    }
  };

  calls calls_;
  const bool lifetimes_;  // objects have an age to die at
  const bool ages_;       // the time of each return matters
};

}  // namespace cistern::detail
