// object_pool_options: how many objects an object pool keeps, for how long, and what it does when none is
// idle.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/no_limit.hpp>

#include <chrono>
#include <cstddef>

namespace cistern {

/// Object pools measure time on the steady clock.
using duration = std::chrono::steady_clock::duration;
using time_point = std::chrono::steady_clock::time_point;

/// Where an object pool reads the time: monotonic, callable from any thread. Must not throw, nor end its
/// thread by `pthread_exit`; a cancellation waits until it has answered.
using pool_clock = time_point (*)();

/// The largest bound that `max_size` can be.
inline constexpr std::size_t largest_max_size = (std::size_t{1} << 28) - 1;
/// A wait, an idle time or a lifetime without an end.
inline constexpr duration forever = duration::max();

/// What `acquire` does when no object is idle and `max_size` objects exist.
enum class when_empty {
  block,   ///< Waits, in order of arrival, until an object is given back.
  fail,    ///< Throws `pool_errc::exhausted`.
  create,  ///< Creates one past `max_size`; it is destroyed on return while there are more than `max_size`.
};

/// Which idle object is given out next.
enum class reuse_order {
  lifo,  ///< The one given back last: warm in cache, and the others may age. The fastest.
  fifo,  ///< The one idle longest: all are used in turn.
};

/// Options of an object pool, an aggregate for designated initialisers.
struct object_pool_options {
  std::size_t max_size = 10;           ///< Objects, idle and in use: 1 to 2^28 - 1, or `no_limit`.
  std::size_t max_idle = no_limit;     ///< Idle objects kept; one given back beyond that is destroyed.
  std::size_t min_idle = 0;            ///< Idle objects that `maintain` keeps up, within `max_size`.
  std::size_t initial = 0;             ///< Objects created by the constructor.
  std::size_t max_waiters = no_limit;  ///< Waiters admitted; one more gets `pool_errc::exhausted`.
  when_empty empty = when_empty::block;
  reuse_order order = reuse_order::lifo;
  /// Promises that whoever acquired a lease gives it back, on the same thread. Then a thread that would wait
  /// without end for what only such waiting threads hold gets `pool_errc::would_deadlock`.
  bool detect_deadlock = false;
  duration acquire_timeout = forever;  ///< How long `acquire` waits.
  duration idle_timeout = forever;     ///< `maintain` destroys objects idle longer, down to `min_idle`.
  duration max_lifetime = forever;     ///< Objects older than that are destroyed when next touched.
  duration validate_after = duration::zero();  ///< Validate only objects that were idle at least that long.
  duration backoff_max = std::chrono::seconds{5};  ///< Longest pause between attempts of a failing factory.
  double lifetime_jitter = 0.1;  ///< Each object's `max_lifetime` is shortened by up to this part (0 to 1).

  friend bool operator==(const object_pool_options&, const object_pool_options&) = default;
};

/// Returns `options` if they make sense; throws `std::invalid_argument` naming the field and the value if
/// not.
const object_pool_options& validated(const object_pool_options& options CISTERN_LIFETIMEBOUND);

}  // namespace cistern
