// object_lifecycle: how an object pool makes, cleans, checks and destroys its objects.
#pragma once

#include <cistern/detail/base/requirements.hpp>

#include <concepts>
#include <cstddef>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace cistern {

/// What every lifecycle has: `T create()`. The other members are used if present:
///
/// | member | when | if it throws |
/// | --- | --- | --- |
/// | `T create()` | an object is needed | the caller gets `pool_errc::factory_failed` |
/// | `void reset(T&)` | on return | the object is destroyed; nobody hears of it but the statistics |
/// | `bool validate(T&)` | on acquire | counts as false: the object is destroyed, the caller gets another |
/// | `void destroy(T&&) noexcept` | once per object, before its destructor | |
/// | `size_t retained_bytes(const T&) noexcept` | on return, for the statistics | |
/// | `bool clean(const T&) noexcept` | on return and on acquire, in checked builds | |
///
/// All run outside any lock of the pool, and may run on several threads at once, each for another object.
///
/// Where AddressSanitizer or Valgrind looks on, touching an object that isn't on loan is reported, unless one
/// of these functions does. If something of the user's has reason to (a thread of the object's own, a list
/// that goes through objects), `static constexpr bool touched_while_idle = true;` switches that off.
///
/// A thread may end in `create` or `validate`, by `pthread_cancel` or `pthread_exit`: it is unwound, and the
/// object that it was at is destroyed. The others run in destructors, which can't be unwound: a
/// `pthread_cancel` that comes there waits until the object is back, and `pthread_exit` must not be called. A
/// `reset` that can't be cancelled is best declared `noexcept`: then the pool needn't see to it.
template <class L, class T>
concept object_lifecycle = requires(L& lifecycle) {
  { lifecycle.create() } -> std::same_as<T>;
};

/// The place of a function that a lifecycle made of functions doesn't have.
struct no_hook {};

namespace detail {

// Whether `f` can be called; false only for null pointers and empty std::functions.
template <class F>
[[nodiscard]] bool callable(const F& f) noexcept {
  if constexpr (std::is_pointer_v<F> || requires(const F& g) {
                  { g == nullptr } -> std::convertible_to<bool>;
                }) {
    return !(f == nullptr);
  } else {
    return true;
  }
}

template <class L, class T>
inline constexpr bool has_reset = requires(L& l, T& t) {
  l.reset(t);
};
template <class L, class T>
inline constexpr bool has_validate = requires(L& l, T& t) {
  { l.validate(t) } -> std::convertible_to<bool>;
};
template <class L, class T>
inline constexpr bool has_destroy = requires(L& l, T& t) {
  l.destroy(std::move(t));
};
template <class L, class T>
inline constexpr bool has_retained_bytes = requires(L& l, const T& t) {
  { l.retained_bytes(t) } -> std::convertible_to<std::size_t>;
};
template <class L>
inline constexpr bool touched_while_idle = [] {
  if constexpr (requires { L::touched_while_idle; }) {
    return static_cast<bool>(L::touched_while_idle);
  }
  return false;
}();
template <class L, class T>
inline constexpr bool has_clean = requires(L& l, const T& t) {
  { l.clean(t) } -> std::convertible_to<bool>;
};

}  // namespace detail

/// A lifecycle made of functions: what `make_object_pool` uses.
template <class Create, class Reset = no_hook, class Validate = no_hook, class Destroy = no_hook>
class function_lifecycle {
 public:
  using value_type = std::remove_cvref_t<std::invoke_result_t<Create&>>;

  /// Throws `std::invalid_argument` if `to_create` is a null pointer or an empty `std::function`. The other
  /// functions may be: they count as absent then.
  explicit function_lifecycle(Create to_create, Reset to_reset = {}, Validate to_validate = {},
                              Destroy to_destroy = {})
      : create_(std::move(to_create)),
        reset_(std::move(to_reset)),
        validate_(std::move(to_validate)),
        destroy_(std::move(to_destroy)) {
    if (!detail::callable(create_)) {
      throw std::invalid_argument("object_pool: the factory is empty");
    }
  }

  value_type create() noexcept(std::is_nothrow_invocable_v<Create&>) { return create_(); }
  void reset(value_type& object) noexcept(std::is_nothrow_invocable_v<Reset&, value_type&>) requires(
      !std::same_as<Reset, no_hook>) {
    if (detail::callable(reset_)) {
      reset_(object);
    }
  }
  bool validate(value_type& object) noexcept(std::is_nothrow_invocable_v<Validate&, value_type&>) requires(
      !std::same_as<Validate, no_hook>) {
    return !detail::callable(validate_) || validate_(object);
  }
  void destroy(value_type&& object) noexcept requires(!std::same_as<Destroy, no_hook>) {
    if (detail::callable(destroy_)) {
      destroy_(std::move(object));
    }
  }

 private:
  [[no_unique_address]] Create create_;
  [[no_unique_address]] Reset reset_;
  [[no_unique_address]] Validate validate_;
  [[no_unique_address]] Destroy destroy_;
};

}  // namespace cistern
