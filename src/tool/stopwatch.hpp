// stopwatch: times replays of a script on a resource, in a process of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "../trace/replay_script.hpp"
#include "replay_resource.hpp"
#include "timing_process.hpp"

namespace cistern::tool {

/// What a replay took.
struct timed_replay {
  double nanoseconds = 0;
  std::uint64_t refused = 0;  ///< Allocations.
};

/// Times one resource: the first replay of a process, where `cold`; else when it has its memory.
class stopwatch {
 public:
  /// Both must outlive it. Throws as `timing_process`, here and below.
  stopwatch(const replay_candidate& candidate, const detail::replay_script& script, bool cold)
      : candidate_(candidate), script_(script), process_(candidate, script), cold_(cold) {}

  /// Finds how many replays take long enough to be timed. To be called first.
  void calibrate();
  /// The mean of so many.
  [[nodiscard]] timed_replay time();
  /// Apart from the others, which reading the clock would disturb.
  [[nodiscard]] std::chrono::nanoseconds longest_call();

 private:
  const replay_candidate& candidate_;
  const detail::replay_script& script_;
  timing_process process_;
  bool cold_;
  std::size_t repetitions_ = 1;
};

/// Who of `count` comes at a place of a round: turned by one each round, and backwards every other one, so
/// that nobody always follows the same neighbour.
[[nodiscard]] std::size_t at_place(std::size_t place, std::size_t round, std::size_t count) noexcept;

}  // namespace cistern::tool
