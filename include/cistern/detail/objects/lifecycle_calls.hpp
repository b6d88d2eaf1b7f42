// lifecycle_calls: the user's functions, called on objects in slots.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/exception_of.hpp>
#include <cistern/detail/objects/pool_slot.hpp>
#include <cistern/detail/objects/slot_table.hpp>
#include <cistern/object_lifecycle.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace cistern::detail {

/// `create` and `validate` run in functions that can be unwound: the end of the thread passes through them.
/// What runs on the way back runs in destructors, which can't, so pthread_cancel has to wait meanwhile.
template <class T, class Lifecycle>
struct lifecycle_calls {
  [[no_unique_address]] Lifecycle lifecycle;

  static T& object(pool_slot& slot) noexcept { return static_cast<typed_slot<T>&>(slot).object; }

  void construct(pool_slot& slot) {
    ::new (static_cast<void*>(std::addressof(object(slot)))) T(lifecycle.create());
  }
  void destroy(pool_slot& slot) noexcept {
    [[maybe_unused]] const uninterrupted<(has_destroy<Lifecycle, T> || !std::is_trivially_destructible_v<T>)>
        in_a_destructor;
    if constexpr (has_destroy<Lifecycle, T>) {
      lifecycle.destroy(std::move(object(slot)));
    }
    std::destroy_at(std::addressof(object(slot)));
  }
  /// False if the reset threw: the object must go.
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
                                                   &construct_slot};

 private:
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
