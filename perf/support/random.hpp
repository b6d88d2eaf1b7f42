// random: a seeded generator of about one nanosecond a number whose calls do not wait for each other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace perf {

/// Counter plus multiply-mix: successive numbers depend on each other through one addition only, so the
/// generator hides behind the work that is measured. The same seed gives the same numbers everywhere.
class random_source {
 public:
  explicit random_source(std::uint64_t seed) noexcept : state_(seed * 0x9E3779B97F4A7C15U + 1) {}

  std::uint64_t next() noexcept {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t mixed = state_ * 0xD6E8FEB86659FD93U;
    mixed ^= mixed >> 32U;
    return mixed * 0xD6E8FEB86659FD93U;
  }

  /// A number in [0, bound); `bound` is at most 2^32.
  std::size_t below(std::size_t bound) noexcept { return scale(next() >> 32U, bound); }

  /// Maps 32 random bits to [0, bound).
  static std::size_t scale(std::uint64_t bits, std::size_t bound) noexcept {
    return static_cast<std::size_t>(((bits & 0xFFFFFFFFU) * bound) >> 32U);
  }

 private:
  std::uint64_t state_;
};

}  // namespace perf
