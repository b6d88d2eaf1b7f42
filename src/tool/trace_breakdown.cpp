#include "trace_breakdown.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <unordered_map>

#include "block_follower.hpp"

namespace cistern::tool {
namespace {

[[nodiscard]] double part(double some, double all) {
  return all > 0 ? some / all : 0;
}

[[nodiscard]] double weight(const call_totals& some, const call_totals& all) {
  return std::max({part(static_cast<double>(some.calls), static_cast<double>(all.calls)),
                   part(some.bytes, all.bytes),
                   part(static_cast<double>(some.temporaries), static_cast<double>(all.temporaries))});
}

[[nodiscard]] std::size_t size_band(std::uint64_t bytes) {
  return static_cast<std::size_t>(std::lower_bound(size_band_ends.begin(), size_band_ends.end(), bytes) -
                                  size_band_ends.begin());
}

void add(block_totals& totals, const followed_block& block) {
  ++totals.blocks;
  totals.bytes += static_cast<double>(block.bytes);
}

/// Sorts what a trace has into a breakdown.
class sorter {
 public:
  sorter(trace_breakdown& into, const breakdown_plan& plan, std::size_t stacks)
      : into_(into),
        plan_(plan),
        series_of_site_(plan.sites, plan.top_sites.size()),
        place_of_stack_(stacks, plan.kept_stacks.size()) {
    for (std::size_t i = 0; i < plan.top_sites.size(); ++i) series_of_site_[plan.top_sites[i]] = i;
    for (std::size_t i = 0; i < plan.kept_stacks.size(); ++i) place_of_stack_[plan.kept_stacks[i]] = i;
    for (std::size_t i = 0; i < plan.kept_threads.size(); ++i) place_of_thread_[plan.kept_threads[i]] = i;
  }

  void begin(const followed_block& block) {
    if (block.stack >= place_of_stack_.size())
      throw std::runtime_error("the trace changed while it was read");
    const auto bytes = static_cast<double>(block.bytes);
    into_.sites[plan_.site_of_stack[block.stack]].begin(bytes);
    call_totals& span = in_span(block);
    ++span.calls;
    span.bytes += bytes;
    into_.by_size.add(block.nanoseconds, size_band(block.bytes), bytes);
    into_.by_site.add(block.nanoseconds, series_of(block), bytes);
  }

  void end(const block_end& end) {
    const followed_block& block = end.block;
    const auto bytes = static_cast<double>(block.bytes);
    into_.sites[plan_.site_of_stack[block.stack]].end(bytes, end.is_temporary);
    in_span(block).temporaries += end.is_temporary ? 1U : 0U;
    into_.by_size.subtract(end.nanoseconds, size_band(block.bytes), bytes);
    into_.by_site.subtract(end.nanoseconds, series_of(block), bytes);
    const std::uint64_t life = end.nanoseconds - std::min(end.nanoseconds, block.nanoseconds);
    add(into_.size_and_life[static_cast<std::size_t>(std::bit_width(block.bytes))]
                           [static_cast<std::size_t>(std::bit_width(life))],
        block);
    add(into_.handed_over[place_of_thread(block.thread)][place_of_thread(end.thread)], block);
  }

  void stay(const followed_block& block) {
    add(into_.size_and_life[static_cast<std::size_t>(std::bit_width(block.bytes))][trace_breakdown::never],
        block);
  }

 private:
  [[nodiscard]] call_totals& in_span(const followed_block& block) {
    const std::uint64_t span =
        std::min<std::uint64_t>(block.nanoseconds / into_.span_nanoseconds, time_spans - 1);
    return into_.spans[span][place_of_stack_[block.stack]];
  }
  [[nodiscard]] std::size_t series_of(const followed_block& block) const {
    return series_of_site_[plan_.site_of_stack[block.stack]];
  }
  [[nodiscard]] std::size_t place_of_thread(std::uint64_t thread) const {
    const auto found = place_of_thread_.find(thread);
    return found == place_of_thread_.end() ? plan_.kept_threads.size() : found->second;
  }

  trace_breakdown& into_;
  const breakdown_plan& plan_;
  std::vector<std::size_t> series_of_site_;
  std::vector<std::size_t> place_of_stack_;
  std::unordered_map<std::uint64_t, std::size_t> place_of_thread_;
};

}  // namespace

std::vector<std::uint64_t> stacks_worth_keeping(const trace_survey& survey) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < survey.stacks.size(); ++i) {
    if (survey.stacks[i].made.calls != 0) numbers.push_back(i);
  }
  std::stable_sort(numbers.begin(), numbers.end(), [&](std::uint64_t a, std::uint64_t b) {
    return weight(survey.stacks[a].made, survey.all.made) > weight(survey.stacks[b].made, survey.all.made);
  });
  if (numbers.size() > most_kept_stacks) numbers.resize(most_kept_stacks);
  return numbers;
}

std::vector<std::uint64_t> threads_worth_keeping(const trace_survey& survey) {
  std::vector<std::uint64_t> numbers;
  for (const auto& [thread, events] : survey.threads) numbers.push_back(thread);
  std::sort(numbers.begin(), numbers.end());
  if (numbers.size() <= most_kept_threads) return numbers;
  std::stable_sort(numbers.begin(), numbers.end(), [&](std::uint64_t a, std::uint64_t b) {
    return survey.threads.at(a) > survey.threads.at(b);
  });
  numbers.resize(most_kept_threads);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

trace_breakdown::trace_breakdown(const trace_survey& survey, const breakdown_plan& plan)
    : by_size(survey.end_nanoseconds, curve_bins, size_band_ends.size() + 1),
      by_site(survey.end_nanoseconds, curve_bins, plan.top_sites.size() + 1),
      span_nanoseconds(survey.end_nanoseconds / time_spans + 1),
      spans(time_spans, std::vector<call_totals>(plan.kept_stacks.size() + 1)),
      sites(plan.sites),
      size_and_life(),
      handed_over(plan.kept_threads.size() + 1, std::vector<block_totals>(plan.kept_threads.size() + 1)) {}

trace_breakdown break_down(trace_reader& trace, const trace_survey& survey, const breakdown_plan& plan) {
  trace_breakdown found(survey, plan);
  sorter into(found, plan, survey.stacks.size());
  block_follower blocks;
  (void)for_each_event(trace, [&](const trace_event& event) {
    blocks.see(
        event, [&](const block_end& end) { into.end(end); },
        [&](const followed_block& block) { into.begin(block); });
  });
  blocks.for_each_live([&](const followed_block& block) { into.stay(block); });
  found.by_size.finish();
  found.by_site.finish();
  return found;
}

}  // namespace cistern::tool
