#include "demo/measure_index.hpp"

#include <algorithm>
#include <cmath>

#include "support/keep.hpp"
#include "support/mimalloc_resource.hpp"
#include "support/peak_memory.hpp"

namespace demo {
namespace {

using clock = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

constexpr std::string_view baseline_name = "new/delete";
constexpr seconds aimed_run_time{0.08};  // long enough for the clock and the scheduler not to matter

/// One run: `passes_per_run` passes over the input. Returns seconds a pass.
double run(const corpus& input, index_result& one, const index_comparison& all) {
  const auto start = clock::now();
  for (std::size_t pass = 0; pass < all.passes_per_run; ++pass) {
    const index_digest digest = index_words(input, perf::hide(one.resource.get()), all.threads);
    one.same_index = one.same_index && digest == all.digest;
  }
  return seconds(clock::now() - start).count() / static_cast<double>(all.passes_per_run);
}

std::vector<index_result> takers(std::size_t threads) {
  std::vector<index_result> results;
  for (const perf::contestant& each : perf::contestants()) {
    const bool able = !each.one_size_only && (threads == 1 || each.thread_safe);
    if (able && perf::takes_part(each)) results.push_back({.who = &each, .resource = each.make(0)});
  }
  return results;
}

/// The baseline's index is what all others must give; its time says how many passes make a run.
void take_baseline(const corpus& input, index_comparison& all) {
  const auto baseline = std::find_if(all.results.begin(), all.results.end(),
                                     [](const auto& one) { return one.who->name == baseline_name; });
  all.digest = index_words(input, baseline->resource.get(), 1);
  const auto start = clock::now();
  static_cast<void>(index_words(input, baseline->resource.get(), all.threads));
  const double passes = aimed_run_time / seconds(clock::now() - start);
  all.passes_per_run = static_cast<std::size_t>(std::clamp(passes, 1.0, 10'000.0));
}

double run_round(const corpus& input, index_comparison& all, const std::string& title,
                 const std::function<void(const std::string&)>& progress) {
  const auto start = clock::now();
  const std::size_t count = all.results.size();
  for (std::size_t position = 0; position < count; ++position) {
    index_result& one = all.results[(position + all.rounds) % count];
    progress(title + ", " + std::string(one.who->name));
    one.seconds.push_back(run(input, one, all));
  }
  return seconds(clock::now() - start).count();
}

}  // namespace

bool index_comparison::all_same() const {
  return std::all_of(results.begin(), results.end(), [](const auto& one) { return one.same_index; });
}

index_comparison compare_indexing(const corpus& input, const index_plan& plan,
                                  const std::function<void(const std::string&)>& progress) {
  index_comparison all{.threads = plan.threads, .digest = {}, .results = takers(plan.threads)};
  progress("warming up");
  take_baseline(input, all);
  const auto start = clock::now();
  const double warm_up = run_round(input, all, "warming up", progress);
  for (index_result& one : all.results) one.seconds.clear();
  std::size_t rounds = plan.rounds;
  if (rounds == 0) {
    rounds = static_cast<std::size_t>(std::clamp(plan.budget.count() / warm_up - 1, 3.0, 15.0));
  }
  while (all.rounds < rounds) {
    const bool late = seconds(clock::now() - start) > plan.budget;
    if (plan.rounds == 0 && late && all.rounds > 0) break;
    run_round(input, all, "round " + std::to_string(all.rounds + 1) + " of " + std::to_string(rounds),
              progress);
    ++all.rounds;
  }
  return all;
}

memory_figures index_memory_here(const corpus& input, const perf::contestant& who, std::size_t threads) {
  static_cast<void>(perf::mimalloc_version());  // loaded for everyone: its code is in nobody's figure
  // The first pass brings in code and thread stacks; it runs on the resource every process has anyway, over
  // one file only, so that little of its memory is there to be reused.
  const corpus little{{input.texts.front()}, input.texts.front().size(), false};
  static_cast<void>(index_words(little, std::pmr::new_delete_resource(), threads));
  const std::size_t before = perf::resident_bytes();
  const auto grown = [before](std::size_t now) { return now > before ? now - before : 0; };
  memory_figures figures;
  const auto resource = who.make(0);
  static_cast<void>(index_words(input, perf::hide(resource.get()), threads));
  figures.peak_bytes = grown(perf::resident_peak_bytes());
  figures.held_bytes = grown(perf::resident_bytes());
  who.give_back(*resource);
  figures.given_back_bytes = grown(perf::resident_bytes());
  return figures;
}

}  // namespace demo
