// lifecycle_calls: the user's functions, called on objects in slots.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/exception_of.hpp>
#include <cistern/detail/objects/object_guard.hpp>
#include <cistern/detail/objects/pool_slot.hpp>
#include <cistern/detail/objects/slot_table.hpp>
#include <cistern/object_lifecycle.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace cistern::detail {

/// An object is forbidden to everybody (`forbid`) unless it is on loan, or one of its user's functions is at
/// it.
///
/// `create` and `validate` run in functions that can be unwound: the end of the thread passes through them.
/// What runs on the way back runs in destructors, which can't, so pthread_cancel has to wait meanwhile.
template <class T, class Lifecycle>
struct lifecycle_calls {
  [[no_unique_address]] Lifecycle lifecycle;

  static T& object(pool_slot& slot) noexcept { return static_cast<typed_slot<T>&>(slot).object; }

  // No more than a look at the slot where no memory checker is there.
  static void forbid(pool_slot& slot) noexcept {
    if (slot.watched) [[unlikely]] {
      guard_watched(slot);
    }
  }
  static void allow(pool_slot& slot) noexcept {
    if (slot.watched) [[unlikely]] {
      unguard_watched(slot);
    }
  }
  /// While one lives, an idle object may be touched.
  class allowed {
   public:
    explicit allowed(pool_slot& slot) noexcept : slot_(slot) { allow(slot_); }
    allowed(const allowed&) = delete;
    allowed& operator=(const allowed&) = delete;
    ~allowed() { forbid(slot_); }

   private:
    pool_slot& slot_;
  };

  /// The object is forbidden afterwards.
  void construct(pool_slot& slot) {
    ::new (static_cast<void*>(std::addressof(object(slot)))) T(lifecycle.create());
    forbid(slot);
  }
  static void construct_from(pool_slot& slot, T&& from) {
    ::new (static_cast<void*>(std::addressof(object(slot)))) T(std::move(from));
    forbid(slot);
  }
  void destroy(pool_slot& slot) noexcept {
    allow(slot);
    [[maybe_unused]] const uninterrupted<(has_destroy<Lifecycle, T> || !std::is_trivially_destructible_v<T>)>
        in_a_destructor;
    if constexpr (has_destroy<Lifecycle, T>) {
      lifecycle.destroy(std::move(object(slot)));
    }
    std::destroy_at(std::addressof(object(slot)));
  }
  /// What is left of an object that has been moved from.
  static void destroy_moved_from(pool_slot& slot) noexcept {
    [[maybe_unused]] const uninterrupted<!std::is_trivially_destructible_v<T>> in_a_destructor;
    std::destroy_at(std::addressof(object(slot)));
  }
  /// The object is forbidden afterwards. False if the reset threw: it must go.
  [[nodiscard]] bool clean_up(pool_slot& slot) noexcept {
    [[maybe_unused]] const uninterrupted<may_be_interrupted()> in_a_destructor;
    if constexpr (has_reset<Lifecycle, T>) {
      try {
        lifecycle.reset(object(slot));
      } catch (...) {
        return false;
      }
    }
    expect_clean(slot, "object_pool: object not clean after reset");
    if constexpr (has_retained_bytes<Lifecycle, T>) {
      slot.retained_bytes = lifecycle.retained_bytes(std::as_const(object(slot)));
    }
    forbid(slot);
    return true;
  }
  /// False, too, if the validation threw.
  [[nodiscard]] bool still_valid([[maybe_unused]] pool_slot& slot) {
    if constexpr (has_validate<Lifecycle, T>) {
      bool valid = false;
      const auto thrown = exception_of([&] { valid = lifecycle.validate(object(slot)); });
      return valid && !thrown;
    } else {
      return true;
    }
  }
  void expect_clean([[maybe_unused]] pool_slot& slot, [[maybe_unused]] const char* what) {
    if constexpr (checked_build && has_clean<Lifecycle, T>) {
      CISTERN_EXPECTS(lifecycle.clean(std::as_const(object(slot))), what, slot.index);
    }
  }
  static pool_slot* construct_slot(void* room) noexcept { return ::new (room) typed_slot<T>; }
  static constexpr slot_table::slot_type slot_type{sizeof(typed_slot<T>), alignof(typed_slot<T>),
                                                   touched_while_idle<Lifecycle> ? 0 : sizeof(T),
                                                   &construct_slot};

 private:
  // Not inlined: their frames would be paid for on the fast path.
  [[gnu::noinline, gnu::cold]] static void guard_watched(pool_slot& slot) noexcept { guard(guarded(slot)); }
  [[gnu::noinline, gnu::cold]] static void unguard_watched(pool_slot& slot) noexcept {
    unguard(guarded(slot));
  }
  static guarded_object guarded(pool_slot& slot) noexcept {
    auto* const at = reinterpret_cast<std::byte*>(std::addressof(object(slot)));
    auto* const end = reinterpret_cast<std::byte*>(&slot) + sizeof(typed_slot<T>);
    return {at, sizeof(T), static_cast<std::size_t>(end - at), end};
  }

  struct nothing {};
  template <bool AtAll>
  using uninterrupted = std::conditional_t<AtAll, no_cancellation, nothing>;

  // Whether anything that runs when an object comes back might hit a cancellation point.
  static constexpr bool may_be_interrupted() noexcept {
    bool may = checked_build && has_clean<Lifecycle, T>;
    if constexpr (has_reset<Lifecycle, T>) {
      may = may || !noexcept(std::declval<Lifecycle&>().reset(std::declval<T&>()));
    }
    if constexpr (has_retained_bytes<Lifecycle, T>) {
      may = may || !noexcept(std::declval<Lifecycle&>().retained_bytes(std::declval<const T&>()));
    }
    return may;
  }
};

}  // namespace cistern::detail
