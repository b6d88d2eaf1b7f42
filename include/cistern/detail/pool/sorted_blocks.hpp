// sorted_blocks: how many blocks a call has put back into their spans, and what that took.
#pragma once

#include <algorithm>
#include <cstddef>

namespace cistern::detail {

// An effort is counted in blocks that are far from the one before; of others there may be more.

/// What one call sorts at most: some tens of microseconds.
inline constexpr std::size_t most_sorting_effort = 1024;
/// What is worth sorting to spare so many new pages: touching one takes about as long as 24 blocks.
[[nodiscard]] constexpr std::size_t sorting_effort_for(std::size_t pages) noexcept {
  return std::min(24 * pages, most_sorting_effort);
}

struct sorted_blocks {
  std::size_t blocks = 0;
  std::size_t visits = 0;  ///< How often a block's span wasn't that of the one before: a cache miss or two.

  void count(bool is_visit) noexcept {
    ++blocks;
    visits += is_visit ? 1 : 0;
  }
  /// Whether most lay near the one before.
  [[nodiscard]] bool lay_near() const noexcept { return visits <= blocks / 4; }
  /// What it took, in the time of a block that is far from the one before.
  [[nodiscard]] std::size_t effort() const noexcept {
    constexpr std::size_t near_blocks_per_visit = 8;
    return visits + (blocks - visits) / near_blocks_per_visit;
  }
  /// Takes that off what may still be, and something where nothing was sorted: no loop goes on for ever.
  void spend(std::size_t& most_effort) const noexcept {
    most_effort -= std::min(most_effort, std::max<std::size_t>(effort(), 1));
  }
};

}  // namespace cistern::detail
