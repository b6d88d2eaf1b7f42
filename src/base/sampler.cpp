#include <cistern/detail/base/sampler.hpp>

#include <algorithm>
#include <chrono>

#include "split_mix.hpp"

namespace cistern::detail {
namespace {

/// The mean time until the clock runs out: N calls that each take the Nth part.
constexpr std::int64_t mean_time = std::int64_t{1} << 40;
/// More than the clock can have left.
constexpr std::int64_t always = 3 * mean_time;

/// From 1 to the mean.
std::int64_t random_part(std::uint64_t state) noexcept {
  return static_cast<std::int64_t>(split_mixed(state + split_mix_step) % mean_time) + 1;
}

std::uint64_t seed(const void* clock) noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  return (static_cast<std::uint64_t>(now) ^ reinterpret_cast<std::uintptr_t>(clock) << 20U) | 1U;
}

}  // namespace

constinit std::array<sampler::sampling_clock, 32> sampler::clocks_{};

sampler::sampler(std::size_t one_in) noexcept
    : step_(one_in == 0   ? 0
            : one_in == 1 ? always
                          : static_cast<std::int64_t>(
                                std::max<std::size_t>(static_cast<std::size_t>(mean_time) / one_in, 1))) {}

bool sampler::ran_out() noexcept {
  sampling_clock& clock = clock_of_thread();
  const auto next_random_state = [&] {
    return clock.random_state.fetch_add(split_mix_step, std::memory_order_relaxed);
  };
  std::uint64_t never_wound_up = 0;
  if (clock.random_state.load(std::memory_order_relaxed) == 0 &&
      clock.random_state.compare_exchange_strong(never_wound_up, seed(&clock), std::memory_order_relaxed)) {
    clock.left.fetch_add(random_part(next_random_state()), std::memory_order_relaxed);
  }
  if (clock.left.load(std::memory_order_relaxed) > 0) {
    return false;
  }
  // Between half the mean and one and a half. So what the longest step ran over never takes all of it, and
  // the next pick is always its own caller's. What it ran over is kept: the mean stays exact where N is
  // small, and where two threads wind up the same clock.
  const std::int64_t time = step_ == always ? always : mean_time / 2 + random_part(next_random_state());
  clock.left.fetch_add(time, std::memory_order_relaxed);
  return true;
}

}  // namespace cistern::detail
