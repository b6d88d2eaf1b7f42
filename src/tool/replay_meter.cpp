#include "replay_meter.hpp"

#include <deque>
#include <stdexcept>
#include <string>

#include "forked_output.hpp"
#include "replay_memory.hpp"
#include "replay_resource.hpp"
#include "stopwatch.hpp"

namespace cistern::tool {
namespace {

[[nodiscard]] replay_candidate candidate_of(const advice_trial& trial) {
  replay_candidate one = std::move(candidates_in(trial.on).front());
  return trial.for_chosen ? for_chosen_blocks(one) : one;
}

}  // namespace

void replay_meter::measure_memory_of(const std::vector<advice_trial>& trials,
                                     std::vector<measured_trial>& measured, progress_line& progress) const {
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const replay_candidate candidate = candidate_of(trials[i]);
    const detail::replay_script& script = *trials[i].script;
    progress.step("memory of " + candidate.name);
    const std::uint64_t bytes = candidate.keeps_freed_blocks ? script.requested_bytes : script.peak_bytes;
    if (!candidate.gives_blocks || bytes > most_bytes_) continue;
    const std::string text =
        forked_output([&](std::ostream& out) { out << measure_memory(script, candidate); });
    measured[i].peak_resident_bytes = memory_from(text).peak_resident_bytes;
  }
}

std::vector<measured_trial> replay_meter::measure(const std::vector<advice_trial>& trials) {
  std::vector<measured_trial> measured(trials.size());
  progress_line progress(trials.size() * (rounds_ + 2));
  measure_memory_of(trials, measured, progress);
  std::deque<replay_candidate> candidates;
  std::deque<stopwatch> watches;
  for (const advice_trial& each : trials) {
    candidates.push_back(candidate_of(each));
    watches.emplace_back(candidates.back(), *each.script, each.cold);
    progress.step("calibrating " + candidates.back().name);
    watches.back().calibrate();
  }
  for (std::size_t round = 0; round < rounds_; ++round) {
    for (std::size_t place = 0; place < trials.size(); ++place) {
      const std::size_t who = at_place(place, round, trials.size());
      progress.step("round " + std::to_string(round + 1) + " of " + std::to_string(rounds_) + ", " +
                    candidates[who].name);
      const timed_replay timed = watches[who].time();
      if (timed.refused != 0) throw std::runtime_error(candidates[who].name + " refused an allocation");
      measured[who].rounds.push_back(timed.nanoseconds);
    }
  }
  return measured;
}

}  // namespace cistern::tool
