// run_counts: the traffic of a class whose blocks are runs of pages.
#pragma once

#include <cistern/pool_statistics.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Counted in blocks, since the pool was made.
struct run_counts {
  std::uint64_t hits = 0;      ///< Allocations that found a run in the heap.
  std::uint64_t misses = 0;    ///< Those for which the heap had to grow.
  std::uint64_t returned = 0;  ///< Frees to the heap.
  std::uint64_t released = 0;  ///< Blocks in use when the pool's `release` came.

  [[nodiscard]] std::size_t in_use() const noexcept { return hits + misses - returned - released; }

  /// The row for the statistics, but for the size of a block.
  [[nodiscard]] bucket_statistics row() const noexcept {
    return {.hits = hits, .misses = misses, .returned = returned, .live_blocks = in_use()};
  }
};

}  // namespace cistern::detail
