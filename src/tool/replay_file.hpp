// replay_file: what cistern-trace replay --json has written, read back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cistern::tool {

/// Figures are none where they weren't measured.
struct reported_resource {
  std::string name;
  std::optional<double> nanoseconds_per_call{};  ///< The median over the rounds, as are the quartiles.
  std::optional<double> lower_quartile{};
  std::optional<double> upper_quartile{};
  std::optional<double> all_calls_nanoseconds{};  ///< Of the trace, one after the other, by the median.
  std::optional<double> ratio{};                  ///< Of times, to the first resource of the report.
  std::optional<double> longest_call_nanoseconds{};
  std::optional<double> refused{};
  std::optional<double> peak_resident_bytes{};
  std::optional<double> fragmentation{};
  std::optional<double> peak_held_bytes{};  ///< From upstream, in what was looked at of the run.
  std::optional<double> held_after_trim_bytes{};
  std::optional<double> upstream_allocations{};
};

struct replay_file {
  std::string trace;  ///< As it was called on the command line.
  std::uint64_t calls = 0;
  std::uint64_t recorded_threads = 0;
  std::uint64_t peak_asked_bytes = 0;
  std::uint64_t rounds = 0;
  std::vector<reported_resource> resources;  ///< One at least.
};

/// Throws `std::runtime_error` if `text` is something else, or if the tools were built without what reads it;
/// `path` is where it came from.
[[nodiscard]] replay_file replay_file_from(const std::string& text, const std::string& path);

}  // namespace cistern::tool
