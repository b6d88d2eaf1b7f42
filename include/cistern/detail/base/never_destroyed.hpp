// never_destroyed: room for a static object whose destructor nobody runs.
#pragma once

#include <memory>
#include <new>
#include <utility>

namespace cistern::detail {

/// What still serves when static objects die, or threads end after them. Two ways:
///
///     constinit never_destroyed<T> it{std::in_place, ...};   // there from before the first constructor
///     constinit never_destroyed<T> it;  ... it.make(...);    // made when first needed, by one thread
///
/// Needs no memory but its own, and has no destructor that a program's end could run.
template <class T>
union never_destroyed {
  constexpr never_destroyed() noexcept : nothing_{} {}
  template <class... Arguments>
  constexpr explicit never_destroyed(std::in_place_t, Arguments&&... arguments)
      : object_(std::forward<Arguments>(arguments)...) {}
  never_destroyed(const never_destroyed&) = delete;
  never_destroyed& operator=(const never_destroyed&) = delete;
  ~never_destroyed() {}  // NOLINT(modernize-use-equals-default): that would be deleted

  /// Makes the object, which must not be there yet. Passes on what its constructor throws.
  template <class... Arguments>
  T& make(Arguments&&... arguments) {
    return *::new (static_cast<void*>(std::addressof(object_))) T(std::forward<Arguments>(arguments)...);
  }

  [[nodiscard]] T& operator*() noexcept { return object_; }
  [[nodiscard]] T* operator->() noexcept { return std::addressof(object_); }

 private:
  char nothing_;
  T object_;
};

}  // namespace cistern::detail
