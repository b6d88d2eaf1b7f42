// replay_report: what replays on several resources came to, for people and for programs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../trace/replay_script.hpp"
#include "replay_memory.hpp"

namespace cistern::tool {

struct replayed_on {
  std::string name;
  std::vector<double> rounds{};  ///< Nanoseconds a call, in order of rounds.
  std::chrono::nanoseconds longest_call{};
  std::uint64_t refused = 0;  ///< Allocations, in one replay.
  std::optional<replay_memory> memory{};
};

struct replay_results {
  std::string trace;
  detail::replay_script script;
  std::vector<replayed_on> resources;
};

/// With linear interpolation between the two next to it; `part` is 0.25, 0.5, 0.75.
[[nodiscard]] double quantile(std::vector<double> values, double part);

/// The median over the rounds of the time of one divided by that of another in the same round.
[[nodiscard]] double time_ratio(const replayed_on& one, const replayed_on& other);

[[nodiscard]] std::string as_table(const replay_results& results);
/// A line for each resource, with a header line.
[[nodiscard]] std::string as_csv(const replay_results& results);
[[nodiscard]] std::string as_json(const replay_results& results);

}  // namespace cistern::tool
