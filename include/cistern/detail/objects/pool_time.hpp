// pool_time: arithmetic on deadlines, and a clock that costs little.
#pragma once

#include <cistern/object_pool_options.hpp>

#include <chrono>
#include <ctime>

namespace cistern::detail {

/// start + by, or the end of time.
[[nodiscard]] inline time_point later(time_point start, duration by) noexcept {
  return by > duration::zero() && start > time_point::max() - by ? time_point::max() : start + by;
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
