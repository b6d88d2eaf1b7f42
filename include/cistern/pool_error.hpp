// pool_error: what can keep an object pool from giving out an object, and who holds its objects then.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/object_pool_options.hpp>
#include <cistern/source_location.hpp>

#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

namespace cistern {

/// Why an object pool gave out no object.
enum class pool_errc {
  closed = 1,      ///< The pool was closed before or during the call.
  timeout,         ///< The deadline passed while every object was in use.
  cancelled,       ///< The caller's stop token was triggered.
  exhausted,       ///< Every object is in use and the options (or the call) forbid waiting.
  would_deadlock,  ///< Every object is held by threads that wait, without end, on this pool
                   ///< (`detect_deadlock`).
  factory_failed,  ///< The factory threw; `pool_error::cause()` is what it threw.
};

/// The category of `pool_errc`, named "cistern.object_pool".
[[nodiscard]] const std::error_category& pool_category() noexcept;

/// Makes `pool_errc` usable wherever a `std::error_code` is expected.
[[nodiscard]] std::error_code make_error_code(pool_errc code) noexcept;

/// One object out on loan: where it was acquired, and how long ago.
struct outstanding_lease {
  source_location acquired_at;
  duration age{};
};

/// What `object_pool::drain` found at its deadline.
struct drain_report {
  std::vector<outstanding_lease> outstanding;  ///< Objects not given back, the longest held first.

  /// True if every object came back in time.
  [[nodiscard]] bool drained() const noexcept { return outstanding.empty(); }
};

namespace detail {
class lease_holders;
}  // namespace detail

/// Thrown by the acquiring functions of object pools, in constant time. `code()` compares with `pool_errc`.
class pool_error : public std::system_error {
 public:
  /// `what` is all that `what()` returns.
  pool_error(pool_errc code, const std::string& what, std::exception_ptr cause = nullptr);
  /// For pools: names the holders, too, for whoever asks.
  pool_error(pool_errc code, const std::string& what, std::exception_ptr cause,
             std::shared_ptr<detail::lease_holders> holders);

  /// What happened, and how many objects are in use. For `timeout`, `exhausted` and `would_deadlock` the
  /// first call also asks the pool who holds them longest: see `holders`.
  [[nodiscard]] const char* what() const noexcept CISTERN_LIFETIMEBOUND override;

  /// What the factory threw last: always set for `factory_failed`, and set for `timeout` if the wait was for
  /// a factory that kept failing; null otherwise.
  [[nodiscard]] const std::exception_ptr& cause() const noexcept CISTERN_LIFETIMEBOUND;

  /// For `timeout`, `exhausted` and `would_deadlock`: who holds the pool's objects now, the longest held
  /// first (at most 16). None once the pool is gone. O(objects), under the pool's mutex.
  [[nodiscard]] std::vector<outstanding_lease> holders() const;

 private:
  struct contents;  // shared by copies, which must not throw
  std::shared_ptr<contents> contents_;
};

}  // namespace cistern

template <>
struct std::is_error_code_enum<cistern::pool_errc> : std::true_type {};
