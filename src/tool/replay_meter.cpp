#include "replay_meter.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>

#include "forked_output.hpp"
#include "own_memory.hpp"
#include "replay_memory.hpp"
#include "replay_report.hpp"
#include "replay_resource.hpp"
#include "stopwatch.hpp"

namespace cistern::tool {
namespace {

[[nodiscard]] replay_candidate candidate_of(const advice_trial& trial) {
  replay_candidate one = trial.on == "stack" ? stack_buffers() : std::move(candidates_in(trial.on).front());
  return trial.for_chosen ? for_chosen_blocks(one) : one;
}

/// Copied in one go between looks at the clock, and how often that is timed.
constexpr std::uint64_t copied_bytes_a_time = std::uint64_t{16} << 20;
constexpr std::size_t copying_rounds = 9;
/// What is copied is seldom out of the caches altogether, nor does more say anything else.
constexpr std::uint64_t largest_copied_piece_bytes = std::uint64_t{64} << 20;

/// Tells the compiler that all of it is looked at.
void keep(const void* bytes) noexcept {
  asm volatile("" : : "r"(bytes) : "memory");
}

}  // namespace

double replay_meter::copying(std::uint64_t bytes, std::uint64_t pieces) {
  if (bytes == 0 || pieces == 0) return 0;
  const std::uint64_t piece_bytes = std::clamp<std::uint64_t>(bytes / pieces, 1, largest_copied_piece_bytes);
  const std::uint64_t times = std::max<std::uint64_t>(1, copied_bytes_a_time / piece_bytes);
  const std::pmr::vector<std::byte> from(piece_bytes, std::byte{1}, own_memory());
  std::pmr::vector<std::byte> to(piece_bytes, own_memory());
  std::vector<double> rounds;
  for (std::size_t round = 0; round < copying_rounds; ++round) {
    const auto begun = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < times; ++i) {
      std::memcpy(to.data(), from.data(), piece_bytes);
      keep(to.data());
    }
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begun;
    rounds.push_back(taken.count());
  }
  return quantile(rounds, 0.5) / static_cast<double>(times * piece_bytes) * static_cast<double>(bytes);
}

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
