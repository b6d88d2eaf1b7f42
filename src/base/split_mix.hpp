// split_mix: the mixing function of SplitMix64.
#pragma once

#include <cstdint>

namespace cistern::detail {

/// What states go up by from one number to the next, and a good odd factor.
inline constexpr std::uint64_t split_mix_step = 0x9e3779b97f4a7c15U;

/// A number that looks like chance, each one for one `state`. After G. Steele, D. Lea and C. Flood, "Fast
/// Splittable Pseudorandom Number Generators", 2014.
[[nodiscard]] constexpr std::uint64_t split_mixed(std::uint64_t state) noexcept {
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9U;
  state = (state ^ (state >> 27)) * 0x94d049bb133111ebU;
  return state ^ (state >> 31);
}

}  // namespace cistern::detail
