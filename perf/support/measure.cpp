#include "support/measure.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "support/keep.hpp"
#include "support/peak_memory.hpp"

namespace perf {
namespace {

using reporter = std::function<void(const std::string&)>;

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

std::vector<const contestant*> takers(const workload& what, const std::vector<const contestant*>& who) {
  std::vector<const contestant*> result;
  std::copy_if(who.begin(), who.end(), std::back_inserter(result),
               [&](const contestant* each) { return eligible(*each, what); });
  if (what.net) result.push_back(&nothing());
  return result;
}

void run_rounds(comparison& outcome, const plan& how, const reporter& progress) {
  const workload& what = *outcome.what;
  std::vector<std::size_t> repetitions;
  for (const result& one : outcome.results) {
    progress("calibrating " + std::string(one.who->name));
    repetitions.push_back(calibrate(what, *one.who, how.run_time));
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
}

/// Sets the time of `one`: net, where `last` is what the work itself costs.
void take_median(result& one, const result& last) {
  if (last.who == &nothing() && one.who != &nothing()) {
    // The median: a disturbed round of this would be missing from everyone's time.
    std::vector<double> own;
    for (const measurement& each : last.rounds) own.push_back(each.nanoseconds_per_operation());
    one.own_nanoseconds = median(std::move(own));
  }
  std::vector<double> times;
  for (std::size_t round = 0; round < one.rounds.size(); ++round) times.push_back(one.nanoseconds_in(round));
  one.nanoseconds = median(std::move(times));
}

void measure_memory(comparison& outcome, const plan& how, const reporter& progress) {
  const workload& what = *outcome.what;
  if (what.asked_bytes != nullptr) outcome.asked_bytes = what.asked_bytes();
  for (result& one : outcome.results) {
    if (one.who == &nothing()) continue;
    progress("peak memory of " + std::string(one.who->name));
    const peak_memory peak = peak_memory_in_child(what, *one.who, how.memory_runs, how.child_arguments);
    one.peak_bytes = peak.peak_bytes;
    one.growth_bytes = peak.growth_bytes;
    one.held_bytes = peak.held_bytes;
  }
}

}  // namespace

double result::nanoseconds_in(std::size_t round) const {
  const double gross = rounds[round].nanoseconds_per_operation();
  // Where noise leaves less than nothing, it is a tenth of a nanosecond.
  return own_nanoseconds == 0 ? gross : std::max(gross - own_nanoseconds, 0.1);
}

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
    ratios.push_back(numerator.nanoseconds_in(round) / denominator.nanoseconds_in(round));
  }
  return median(std::move(ratios));
}

bool eligible(const contestant& who, const workload& what) {
  return (!who.one_size_only || what.one_block_bytes != 0) && (what.threads == 0 || who.thread_safe) &&
         (what.run_lives == nullptr || !(who.global || who.one_size_only));
}

measurement run_once(const workload& what, const contestant& who, std::size_t repetitions) {
  if (what.run_lives != nullptr) {
    return what.run_lives([&] { return who.make(what.one_block_bytes); }, repetitions);
  }
  const auto resource = who.make(what.one_block_bytes);
  return what.run(hide(resource.get()), repetitions);
}

comparison compare(const workload& what, const std::vector<const contestant*>& who, const plan& how,
                   const std::function<void(const std::string&)>& progress) {
  if (what.prepare != nullptr) what.prepare();
  comparison outcome{.what = &what, .results = {}};
  for (const contestant* each : takers(what, who)) outcome.results.push_back({.who = each});
  run_rounds(outcome, how, progress);
  for (result& one : outcome.results) take_median(one, outcome.results.back());
  if (how.memory_runs != 0) measure_memory(outcome, how, progress);
  return outcome;
}

}  // namespace perf
