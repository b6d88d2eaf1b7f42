#include "stopwatch.hpp"

#include <algorithm>

namespace cistern::tool {
namespace {

/// Aimed at for one timing: long beside the clock's resolution, short beside what a machine does meanwhile.
constexpr std::chrono::nanoseconds run_time = std::chrono::milliseconds(25);
/// The longest call is the least of so many replays' longest: what strikes from outside seldom strikes each.
constexpr std::size_t clocked_replays = 3;

[[nodiscard]] std::size_t calibrated(timing_process& process) {
  for (std::size_t repetitions = 1;; repetitions *= 8) {
    const auto played = process.play(detail::play_way::timed, repetitions, true);
    const auto elapsed = std::max(played.elapsed, std::chrono::nanoseconds(1));
    if (elapsed * 8 < run_time) continue;
    return std::max<std::size_t>(1, repetitions * static_cast<std::size_t>(run_time.count()) /
                                        static_cast<std::size_t>(elapsed.count()));
  }
}

}  // namespace

void stopwatch::calibrate() {
  if (!cold_) repetitions_ = calibrated(process_);
}

timed_replay stopwatch::time() {
  const detail::play_result played =
      cold_ ? timing_process(candidate_, script_).play(detail::play_way::timed, 1, false)
            : process_.play(detail::play_way::timed, repetitions_, true);
  return {static_cast<double>(played.elapsed.count()) / static_cast<double>(repetitions_),
          played.refused / repetitions_};
}

std::chrono::nanoseconds stopwatch::longest_call() {
  std::chrono::nanoseconds least = std::chrono::nanoseconds::max();
  for (std::size_t i = 0; i < clocked_replays; ++i) {
    least = std::min(least, process_.play(detail::play_way::clocked, 1, false).longest_call);
  }
  return least;
}

std::size_t at_place(std::size_t place, std::size_t round, std::size_t count) noexcept {
  const std::size_t turned = (place + round) % count;
  return round % 2 == 0 ? turned : count - 1 - turned;
}

}  // namespace cistern::tool
