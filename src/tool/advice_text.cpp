#include "advice_text.hpp"

#include <algorithm>
#include <numeric>

#include "../base/statistics_text.hpp"
#include "advice_code.hpp"
#include "call_sites.hpp"
#include "number_text.hpp"

namespace cistern::tool {
namespace {

using detail::in_binary_units;
using detail::site_facts;
using detail::with_thousands;

constexpr std::size_t most_sites_shown = 10;
constexpr std::size_t most_hand_overs_shown = 5;
constexpr std::size_t longest_site_name = 60;

[[nodiscard]] std::string counted_sites(std::size_t count) {
  return with_thousands(count) + (count == 1 ? " call site" : " call sites");
}

[[nodiscard]] std::string quartiles_text(const spread& time) {
  return time_text(time.median) + " (quartiles " + time_text(time.lower_quartile) + " - " +
         time_text(time.upper_quartile) + ")";
}

/// "a pool for 2 call sites".
[[nodiscard]] std::string what_to_do(const advice& one) {
  const std::string sites = one.sites.empty() ? "" : counted_sites(one.sites.size());
  const std::string pool =
      one.what.on.starts_with("cistern-unsync") ? "an unsynchronized pool" : "a synchronized pool";
  switch (one.what.kind) {
    case advice_kind::reserve:
      return "reserve what grows step by step at " + sites;
    case advice_kind::small_buffer:
      return "a buffer on the stack for temporaries of " + sites;
    case advice_kind::monotonic_for_sites:
      return "a monotonic buffer for " + sites;
    case advice_kind::pool_for_sites:
      return pool + " for " + sites;
    case advice_kind::monotonic:
      return "a monotonic buffer for all blocks: they live to the end";
    case advice_kind::pool:
      return pool + " for all blocks";
  }
  return {};
}

[[nodiscard]] std::string shortened(const std::string& name) {
  if (name.size() <= longest_site_name) return name;
  return name.substr(0, longest_site_name / 2 - 2) + "..." +
         name.substr(name.size() - longest_site_name / 2 + 1);
}

[[nodiscard]] std::string indented(const std::string& text, const std::string& by) {
  std::string all;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) all += by + text.substr(begin, end - begin);
    all += '\n';
    begin = end + 1;
  }
  return all;
}

[[nodiscard]] std::string memory_text(const advice_report& report, const advice& one) {
  if (!one.peak_resident_bytes || !report.verdict.peak_resident_bytes) return {};
  return "   memory at the peak: " + in_binary_units(*one.peak_resident_bytes) + " instead of " +
         in_binary_units(*report.verdict.peak_resident_bytes) + "\n";
}

[[nodiscard]] std::string advice_text(const advice_report& report, const advice& one, std::size_t number) {
  std::string text = std::to_string(number) + ". " + what_to_do(one) + "\n   gains " +
                     quartiles_text(one.gain_nanoseconds) + ": " + percent_text(one.part_of_calls) +
                     " of what calls take";
  if (one.part_of_run) text += ", " + percent_text(*one.part_of_run) + " of the run";
  text += "; " + with_thousands(one.blocks) + " blocks\n" + memory_text(report, one);
  text += "   costs: " + cost_of(one) + "\n";
  if (one.what.kind == advice_kind::reserve) {
    text += "   saves " + with_thousands(one.growth.steps) + " steps of " +
            with_thousands(one.growth.chains) + " growths, and copying " +
            in_binary_units(one.growth.copied_bytes) + ": " + time_text(one.copying_nanoseconds) +
            " of the gain\n";
  }
  return text + "\n" + indented(code_of(report, one), "       ") + "\n";
}

/// What was measured of the program as it is.
[[nodiscard]] std::string calls_text(const advice_report& report) {
  const detail::trace_profile& profile = report.profile;
  const trace_verdict& verdict = report.verdict;
  std::string text = with_thousands(profile.allocations) + " allocations by " +
                     with_thousands(profile.threads) + (profile.threads == 1 ? " thread" : " threads") +
                     "; calls take " + quartiles_text(verdict.calls_nanoseconds) + " on new/delete";
  if (verdict.run_nanoseconds) {
    text += ", of a run of " + time_text(*verdict.run_nanoseconds) + " without recording";
  } else {
    text += "; the trace has no times to compare that with";
  }
  text += "\nat the peak " + in_binary_units(profile.peak_bytes) + " asked for";
  if (verdict.peak_resident_bytes) {
    text += ", " + in_binary_units(*verdict.peak_resident_bytes) + " resident";
  }
  text += "; " + with_thousands(profile.left_live) + " blocks live at the end\n";
  if (verdict.plan.is_one_shot) {
    text += "nearly all of it is live at once: replayed by processes that begin with no memory\n";
  }
  if (report.sample_bytes != 0)
    text += "the trace is of samples: replays are of these alone, times estimated\n";
  return text;
}

[[nodiscard]] std::vector<std::string> site_row(const advice_report& report, std::uint32_t site) {
  const site_facts& facts = report.profile.sites[site];
  const auto times = median_of(facts.lifetimes);
  return {shortened(brief_site_name(report.site_name(site))),
          with_thousands(facts.calls()),
          detail::percentage(facts.calls(), report.profile.calls),
          in_binary_units(facts.requested_bytes),
          in_binary_units(median_of(facts.sizes)),
          in_binary_units(facts.peak_bytes),
          facts.frees == 0 ? "-" : time_text(static_cast<double>(times)),
          detail::percentage(facts.locals, facts.allocations),
          detail::percentage(facts.handed_over, facts.allocations),
          with_thousands(facts.growth.steps),
          with_thousands(facts.live_blocks)};
}

[[nodiscard]] std::string sites_text(const advice_report& report) {
  if (report.profile.allocations == 0) return {};
  detail::text_table table(detail::text_table::first_column::left);
  table.add_row({"call site", "calls", "of all", "bytes", "size", "peak", "lifetime", "local", "elsewhere",
                 "growth", "at the end"});
  table.add_rule();
  const std::vector<std::uint32_t> sites = sites_by_calls(report.profile);
  for (std::size_t i = 0; i < std::min(sites.size(), most_sites_shown); ++i) {
    table.add_row(site_row(report, sites[i]));
  }
  std::string text = table.text();
  if (sites.size() > most_sites_shown) {
    text += "and " + counted_sites(sites.size() - most_sites_shown) + " more\n";
  }
  if (!report.profile.has_stacks) {
    text += "\nThe trace has no stacks: recorded with --stacks, it would say which call sites these are.\n";
  }
  return text;
}

[[nodiscard]] std::string hand_overs_text(const advice_report& report) {
  const auto& all = report.profile.hand_overs;
  std::string text = all.empty() ? "" : "\n";
  for (std::size_t i = 0; i < std::min(all.size(), most_hand_overs_shown); ++i) {
    text += "thread " + std::to_string(all[i].to_thread) + " freed " + with_thousands(all[i].blocks) +
            " blocks of thread " + std::to_string(all[i].from_thread) + ", " + in_binary_units(all[i].bytes) +
            "\n";
  }
  if (all.size() > most_hand_overs_shown) text += "and other threads others\n";
  return text;
}

}  // namespace

std::vector<std::uint32_t> sites_by_calls(const detail::trace_profile& profile) {
  std::vector<std::uint32_t> sites;
  for (std::uint32_t site = 0; site < profile.sites.size(); ++site) {
    if (profile.sites[site].allocations != 0) sites.push_back(site);  // Others only free.
  }
  std::stable_sort(sites.begin(), sites.end(), [&](std::uint32_t a, std::uint32_t b) {
    return profile.sites[a].calls() > profile.sites[b].calls();
  });
  return sites;
}

std::uint64_t median_of(const detail::power_counts& counts) noexcept {
  const std::uint64_t all = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    seen += counts[i];
    if (all != 0 && 2 * seen >= all) return i == 0 ? 0 : i == 64 ? ~std::uint64_t{0} : std::uint64_t{1} << i;
  }
  return 0;
}

std::string cost_of(const advice& one) {
  switch (one.what.kind) {
    case advice_kind::reserve:
      return "a line at each site; where too much is reserved, memory that nobody uses";
    case advice_kind::small_buffer:
      return "stack for the buffer; what doesn't fit comes from new/delete as before";
    case advice_kind::monotonic_for_sites:
    case advice_kind::monotonic:
      return "nothing is given back before the end of the buffer, which must outlive what lies in it";
    case advice_kind::pool_for_sites:
      return "containers there take a std::pmr resource, which must outlive them; the pool keeps idle blocks";
    case advice_kind::pool:
      return "a resource for all of the program; the pool keeps idle blocks";
  }
  return {};
}

std::string headline(const advice_report& report, const advice& one) {
  std::string text = what_to_do(one) + ": gains " + time_text(one.gain_nanoseconds.median);
  if (one.part_of_run) return text + ", " + percent_text(*one.part_of_run) + " of the run";
  return text + " of " + time_text(report.verdict.calls_nanoseconds.median) + " that calls take";
}

std::string headline(const advice_report& report) {
  const trace_verdict& verdict = report.verdict;
  switch (verdict.reason) {
    case no_pool_reason::none:
      break;
    case no_pool_reason::no_allocations:
      return "No pool needed as far as this trace goes: nothing is allocated in it.";
    case no_pool_reason::few_per_cent:
      return "No pool needed: calls take " + percent_text(verdict.part_of_run().value_or(0)) +
             " of the run, " + time_text(verdict.calls_nanoseconds.median) + " of " +
             time_text(verdict.run_nanoseconds.value_or(0)) + ".";
    case no_pool_reason::within_noise: {
      const std::string part =
          verdict.part_of_run() ? ", " + percent_text(*verdict.part_of_run()) + " of the run" : "";
      return "No pool needed: calls take " + time_text(verdict.calls_nanoseconds.median) + part +
             ", and nothing that was tried gains more than the noise of measuring.";
    }
  }
  std::string text = headline(report, verdict.advices.front());
  text[0] = static_cast<char>(text[0] >= 'a' && text[0] <= 'z' ? text[0] - 'a' + 'A' : text[0]);
  return text + ".";
}

std::string as_text(const advice_report& report) {
  std::string text = headline(report) + "\n\n";
  if (report.profile.allocations == 0) return text;
  text += calls_text(report) + "\n";
  std::size_t number = 0;
  for (const advice& each : report.verdict.advices) text += advice_text(report, each, ++number);
  return text + sites_text(report) + hand_overs_text(report);
}

}  // namespace cistern::tool
