#include "demo/measure_traffic.hpp"

#include <algorithm>
#include <numeric>
#include <ostream>
#include <sstream>
#include <stdexcept>

#include "demo/mimalloc.hpp"
#include "support/process.hpp"

namespace demo {
namespace {

void take(traffic_results& one, const std::string& answer) {
  std::istringstream input(answer);
  traffic_result run;
  std::size_t given_back_bytes = 0;
  input >> run.processor_seconds >> run.checksum >> run.messages >> given_back_bytes;
  for (traffic_sample next; input >> next.live_bytes >> next.held_bytes;) run.samples.push_back(next);
  if (run.samples.size() != timetable::all_ticks / timetable::ticks_per_sample) {
    throw std::runtime_error("no figures of the message traffic in \"" + answer + '"');
  }
  one.runs.push_back(std::move(run));
  one.given_back_bytes.push_back(given_back_bytes);
}

}  // namespace

std::vector<double> traffic_results::processor_seconds() const {
  std::vector<double> all;
  for (const traffic_result& run : runs) all.push_back(run.processor_seconds);
  return all;
}

std::vector<std::size_t> traffic_results::mean_bytes(std::size_t traffic_sample::*bytes) const {
  std::vector<std::size_t> means(runs.front().samples.size());
  for (std::size_t i = 0; i < means.size(); ++i) {
    for (const traffic_result& run : runs) means[i] += run.samples[i].*bytes;
    means[i] /= runs.size();
  }
  return means;
}

std::size_t traffic_results::mean_given_back_bytes() const {
  return std::accumulate(given_back_bytes.begin(), given_back_bytes.end(), std::size_t{0}) /
         given_back_bytes.size();
}

bool traffic_comparison::all_same() const {
  const traffic_result& first = results.front().runs.front();
  return std::all_of(results.begin(), results.end(), [&](const traffic_results& one) {
    return std::all_of(one.runs.begin(), one.runs.end(), [&](const traffic_result& run) {
      return run.checksum == first.checksum && run.messages == first.messages;
    });
  });
}

memory_plot traffic_comparison::plot() const {
  memory_plot plot{.seconds = timetable::seconds(timetable::all_ticks),
                   .quiet_from_second = timetable::seconds(timetable::all_bursts_ticks),
                   .lines = {}};
  plot.lines.push_back({"in messages", results.front().mean_bytes(&traffic_sample::live_bytes)});
  for (const traffic_results& one : results) {
    plot.lines.push_back({std::string(one.who->name), one.mean_bytes(&traffic_sample::held_bytes),
                          one.who->rewind == nullptr});
  }
  return plot;
}

traffic_comparison compare_traffic(const round_plan& plan,
                                   const std::function<void(const std::string&)>& progress) {
  traffic_comparison all;
  for (const taker& each : takers()) {
    if (each.thread_safe) all.results.push_back({.who = &each});
  }
  all.rounds = run_rounds(plan, all.results.size(), [&](std::size_t which) {
    traffic_results& one = all.results[which];
    progress("round " + std::to_string(one.runs.size() + 1) + ", " + std::string(one.who->name));
    take(one, perf::output_of_this_program({"--traffic-of", std::string(one.who->name)}));
  });
  return all;
}

void print_traffic_here(std::ostream& out, const taker& who) {
  static_cast<void>(mimalloc_version());  // loaded for everyone: its code is in nobody's figure
  const std::size_t before = perf::resident_bytes();
  const auto held_bytes = [before] {
    const std::size_t now = perf::resident_bytes();
    return now > before ? now - before : 0;
  };
  const auto resource = who.make();
  const traffic_result run = run_traffic(resource.get(), held_bytes);
  if (who.give_back != nullptr) who.give_back(*resource);
  out << run.processor_seconds << ' ' << run.checksum << ' ' << run.messages << ' ' << held_bytes() << '\n';
  for (const traffic_sample& each : run.samples) out << each.live_bytes << ' ' << each.held_bytes << '\n';
}

}  // namespace demo
