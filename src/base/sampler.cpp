#include <cistern/detail/base/sampler.hpp>
#include <cistern/detail/base/thread_id.hpp>

#include <algorithm>
#include <chrono>

#include "split_mix.hpp"

namespace cistern::detail {
namespace {

/// The mean time until the clock runs out: N calls that each take the Nth part.
constexpr std::int64_t mean_time = std::int64_t{1} << 40;
/// More than the clock can have left.
constexpr std::int64_t always = 3 * mean_time;

constinit thread_local std::uint64_t random_state = 0;  // 0: this thread's clock was never wound up.

/// From 1 to the mean.
std::int64_t random_part() noexcept {
  return static_cast<std::int64_t>(split_mixed(random_state += split_mix_step) % mean_time) + 1;
}

/// Between half the mean and one and a half. So what the longest step ran over never takes all of it, and the
/// next pick is always its own caller's.
std::int64_t random_time() noexcept {
  return mean_time / 2 + random_part();
}

std::uint64_t seed() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  return (static_cast<std::uint64_t>(now) ^ thread_id() << 40 ^
          reinterpret_cast<std::uintptr_t>(&random_state)) |
         1;
}

}  // namespace

constinit thread_local std::int64_t sampler::left_ = 0;

sampler::sampler(std::size_t one_in) noexcept
    : step_(one_in == 0   ? 0
            : one_in == 1 ? always
                          : static_cast<std::int64_t>(
                                std::max<std::size_t>(static_cast<std::size_t>(mean_time) / one_in, 1))) {}

bool sampler::ran_out() noexcept {
  if (random_state == 0) {
    random_state = seed();
    left_ += random_part();  // With this, threads that end soon have their share.
  }
  if (left_ > 0 || step_ == 0) {
    return false;
  }
  // What it ran over is kept: the mean stays exact where N is small.
  left_ += step_ == always ? always : random_time();
  return true;
}

}  // namespace cistern::detail
