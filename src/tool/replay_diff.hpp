// replay_diff: what replays on the same resources came to before a change and after it.
#pragma once

#include <string>
#include <vector>

#include "replay_file.hpp"

namespace cistern::tool {

/// In both reports, by name.
struct replay_pair {
  reported_resource before;
  reported_resource after;
};

struct replay_diff {
  replay_file before;
  replay_file after;
  std::vector<replay_pair> in_both;      ///< In the order of `before`.
  std::vector<std::string> only_before;  ///< Names.
  std::vector<std::string> only_after;   ///< Likewise.
};

/// Throws `std::runtime_error` if no resource is in both.
[[nodiscard]] replay_diff difference(replay_file before, replay_file after);

[[nodiscard]] std::string as_text(const replay_diff& diff);
[[nodiscard]] std::string as_json(const replay_diff& diff);
/// A line for each figure of each resource that is in both, with a header line.
[[nodiscard]] std::string as_csv(const replay_diff& diff);

}  // namespace cistern::tool
