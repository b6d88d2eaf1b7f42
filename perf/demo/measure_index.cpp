#include "demo/measure_index.hpp"

#include <algorithm>
#include <chrono>

#include "demo/mimalloc.hpp"
#include "support/process.hpp"

namespace demo {
namespace {

using clock = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

constexpr seconds aimed_run_time{0.08};  // long enough for the clock and the scheduler not to matter

/// One run: `passes_per_run` passes over the input. Returns seconds a pass.
double run(const corpus& input, index_result& one, const index_comparison& all) {
  const auto start = clock::now();
  for (std::size_t pass = 0; pass < all.passes_per_run; ++pass) {
    const index_digest digest = index_words(input, one.resource.get(), all.threads);
    one.same_index = one.same_index && digest == all.digest;
    if (one.who->rewind != nullptr) one.who->rewind(*one.resource);
  }
  return seconds(clock::now() - start).count() / static_cast<double>(all.passes_per_run);
}

std::vector<index_result> able(std::size_t threads) {
  std::vector<index_result> results;
  for (const taker& each : takers()) {
    if (threads == 1 || each.thread_safe) results.push_back({.who = &each, .resource = each.make()});
  }
  return results;
}

/// The baseline's index is what all others must give; its time says how many passes make a run.
void take_baseline(const corpus& input, index_comparison& all) {
  const auto baseline = taker_called(baseline_name).make();
  all.digest = index_words(input, baseline.get(), 1);
  const auto start = clock::now();
  static_cast<void>(index_words(input, baseline.get(), all.threads));
  const double passes = aimed_run_time / seconds(clock::now() - start);
  all.passes_per_run = static_cast<std::size_t>(std::clamp(passes, 1.0, 10'000.0));
}

}  // namespace

bool index_comparison::all_same() const {
  return std::all_of(results.begin(), results.end(), [](const auto& one) { return one.same_index; });
}

index_comparison compare_indexing(const corpus& input, std::size_t threads, const round_plan& plan,
                                  const std::function<void(const std::string&)>& progress) {
  index_comparison all{.threads = threads, .digest = {}, .results = able(threads)};
  take_baseline(input, all);
  for (index_result& one : all.results) static_cast<void>(run(input, one, all));  // warms up, isn't counted
  all.rounds = run_rounds(plan, all.results.size(), [&](std::size_t which) {
    index_result& one = all.results[which];
    progress("round " + std::to_string(one.seconds.size() + 1) + ", " + std::string(one.who->name));
    one.seconds.push_back(run(input, one, all));
  });
  return all;
}

memory_figures index_memory_here(const corpus& input, const taker& who, std::size_t threads) {
  static_cast<void>(mimalloc_version());  // loaded for everyone: its code is in nobody's figure
  // The first pass brings in code and thread stacks; it runs on the resource every process has anyway, over
  // one file only, so that little of its memory is there to be reused.
  const corpus little{{input.texts.front()}, input.texts.front().size(), false};
  static_cast<void>(index_words(little, std::pmr::new_delete_resource(), threads));
  const std::size_t before = perf::resident_bytes();
  const auto grown = [before](std::size_t now) { return now > before ? now - before : 0; };
  memory_figures figures;
  const auto resource = who.make();
  static_cast<void>(index_words(input, resource.get(), threads));
  figures.peak_bytes = grown(perf::resident_peak_bytes());
  figures.held_bytes = grown(perf::resident_bytes());
  if (who.give_back != nullptr) who.give_back(*resource);
  figures.given_back_bytes = grown(perf::resident_bytes());
  return figures;
}

}  // namespace demo
