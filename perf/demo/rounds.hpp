// rounds: runs all takers in turn, again and again, so that what disturbs the machine disturbs all of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>

namespace demo {

struct round_plan {
  std::size_t rounds = 0;  ///< 0: as many as fit into `budget`, but `fewest` to `most`.
  std::size_t fewest = 3;
  std::size_t most = 15;
  std::chrono::duration<double> budget{};
};

/// Calls `run(which)` for each of `count` takers in each round; another one begins each time. Returns the
/// number of rounds.
std::size_t run_rounds(const round_plan& plan, std::size_t count,
                       const std::function<void(std::size_t)>& run);

}  // namespace demo
