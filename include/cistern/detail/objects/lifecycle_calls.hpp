// lifecycle_calls: the user's functions, called on objects in slots.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/objects/pool_slot.hpp>
#include <cistern/detail/objects/slot_table.hpp>
#include <cistern/object_lifecycle.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace cistern::detail {

template <class T, class Lifecycle>
struct lifecycle_calls {
  [[no_unique_address]] Lifecycle lifecycle;

  static T& object(pool_slot& slot) noexcept { return static_cast<typed_slot<T>&>(slot).object; }

  void construct(pool_slot& slot) {
    ::new (static_cast<void*>(std::addressof(object(slot)))) T(lifecycle.create());
  }
  void destroy(pool_slot& slot) noexcept {
    if constexpr (has_destroy<Lifecycle, T>) {
      lifecycle.destroy(std::move(object(slot)));
    }
    std::destroy_at(std::addressof(object(slot)));
  }
  /// False if the reset threw: the object must go.
  [[nodiscard]] bool clean_up(pool_slot& slot) noexcept {
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
  [[nodiscard]] bool still_valid([[maybe_unused]] pool_slot& slot) noexcept {
    if constexpr (has_validate<Lifecycle, T>) {
      try {
        return lifecycle.validate(object(slot));
      } catch (...) {
        return false;
      }
    } else {
      return true;
    }
  }
  void expect_clean([[maybe_unused]] pool_slot& slot, [[maybe_unused]] const char* what) noexcept {
    if constexpr (checked_build && has_clean<Lifecycle, T>) {
      CISTERN_EXPECTS(lifecycle.clean(std::as_const(object(slot))), what, slot.index);
    }
  }
  static pool_slot* construct_slot(void* room) noexcept { return ::new (room) typed_slot<T>; }
  static constexpr slot_table::slot_type slot_type{sizeof(typed_slot<T>), alignof(typed_slot<T>),
                                                   &construct_slot};
};

}  // namespace cistern::detail
