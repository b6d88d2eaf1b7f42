// pool_time: arithmetic on deadlines, and a clock that costs little.
#pragma once

#include <cistern/object_pool_options.hpp>

#include <chrono>
#include <ctime>
#include <type_traits>

namespace cistern::detail {

/// start + by, or the end of time, or its beginning.
[[nodiscard]] constexpr time_point later(time_point start, duration by) noexcept {
  const duration since = start.time_since_epoch();
  if (by > duration::zero() && since > duration::max() - by) {
    return time_point::max();
  }
  return by < duration::zero() && since < duration::min() - by ? time_point::min() : start + by;
}

/// `time` in the unit of the pools, which ends after 292 years: what is longer is `forever`.
template <class Rep, class Period>
[[nodiscard]] constexpr duration saturated(const std::chrono::duration<Rep, Period>& time) noexcept {
  if constexpr (std::is_same_v<std::chrono::duration<Rep, Period>, duration>) {
    return time;
  } else {
    using wide = std::chrono::duration<long double, duration::period>;
    if (!(wide{time} < wide{duration::max()})) {
      return duration::max();
    }
    return wide{time} > wide{duration::min()} ? std::chrono::duration_cast<duration>(time) : duration::min();
  }
}
/// The same for a time by the steady clock.
template <class Duration>
[[nodiscard]] constexpr time_point saturated(
    const std::chrono::time_point<std::chrono::steady_clock, Duration>& time) noexcept {
  return time_point{saturated(time.time_since_epoch())};
}

[[nodiscard]] inline bool is_system_clock(pool_clock clock) noexcept {
  return clock == &std::chrono::steady_clock::now;
}

/// The system's steady clock, as precise as its tick (1 to 4 ms) where that is cheaper.
[[nodiscard]] inline time_point coarse_system_time() noexcept {
#if defined(CLOCK_MONOTONIC_COARSE)
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return time_point{std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec}};
#else
  return std::chrono::steady_clock::now();
#endif
}

}  // namespace cistern::detail
