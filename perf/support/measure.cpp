#include "support/measure.hpp"

#include <algorithm>
#include <cmath>

#include "support/keep.hpp"
#include "support/peak_memory.hpp"

namespace perf {
namespace {

measurement run_once(const workload& what, const contestant& who, std::size_t repetitions) {
  const auto resource = who.make(what.one_block_bytes);
  return what.run(hide(resource.get()), repetitions);
}

/// The number of repetitions that takes about `run_time`, at least 1.
std::size_t calibrate(const workload& what, const contestant& who, std::chrono::nanoseconds run_time) {
  std::size_t repetitions = 1;
  for (;;) {
    const auto elapsed = std::max(run_once(what, who, repetitions).elapsed, std::chrono::nanoseconds(1));
    const double wanted = static_cast<double>(repetitions) * static_cast<double>(run_time.count()) /
                          static_cast<double>(elapsed.count());
    // A run of a twentieth of the aim is long enough to extrapolate from.
    if (elapsed * 20 >= run_time) return static_cast<std::size_t>(std::max(1.0, wanted));
    repetitions = static_cast<std::size_t>(std::max(2.0 * static_cast<double>(repetitions), wanted / 4));
  }
}

/// The order in round `round`: rotated by one place each round, and backwards every other round, so that
/// nobody always runs first, or always after the same neighbour.
std::size_t place(std::size_t position, std::size_t round, std::size_t count) {
  const std::size_t index = (position + round) % count;
  return round % 2 == 0 ? index : count - 1 - index;
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double geometric_mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return values.empty() ? 0 : std::exp(sum / static_cast<double>(values.size()));
}

double time_ratio(const result& numerator, const result& denominator) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < std::min(numerator.rounds.size(), denominator.rounds.size()); ++round) {
    ratios.push_back(numerator.rounds[round].nanoseconds_per_operation() /
                     denominator.rounds[round].nanoseconds_per_operation());
  }
  return median(std::move(ratios));
}

bool eligible(const contestant& who, const workload& what) {
  return (!who.one_size_only || what.one_block_bytes != 0) && (what.threads == 0 || who.thread_safe);
}

comparison compare(const workload& what, const std::vector<const contestant*>& who, const plan& how,
                   const std::function<void(const std::string&)>& progress) {
  comparison outcome{&what, {}};
  std::vector<std::size_t> repetitions;
  for (const contestant* each : who) {
    if (!eligible(*each, what)) continue;
    progress("calibrating " + std::string(each->name));
    outcome.results.push_back({.who = each});
    repetitions.push_back(calibrate(what, *each, how.run_time));
  }
  const std::size_t count = outcome.results.size();
  for (std::size_t round = 0; round < how.rounds; ++round) {
    for (std::size_t position = 0; position < count; ++position) {
      const std::size_t index = place(position, round, count);
      result& one = outcome.results[index];
      progress("round " + std::to_string(round + 1) + " of " + std::to_string(how.rounds) + ", " +
               std::string(one.who->name));
      one.rounds.push_back(run_once(what, *one.who, repetitions[index]));
    }
  }
  for (result& one : outcome.results) {
    std::vector<double> times;
    for (const measurement& each : one.rounds) times.push_back(each.nanoseconds_per_operation());
    one.nanoseconds = median(std::move(times));
    if (how.memory_runs == 0) continue;
    progress("peak memory of " + std::string(one.who->name));
    const peak_memory peak = peak_memory_in_child(what, *one.who, how.memory_runs);
    one.peak_bytes = peak.peak_bytes;
    one.growth_bytes = peak.growth_bytes;
  }
  return outcome;
}

}  // namespace perf
