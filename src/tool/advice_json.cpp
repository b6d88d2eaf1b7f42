#include "advice_json.hpp"

#include <algorithm>

#include "../base/statistics_text.hpp"
#include "advice_code.hpp"
#include "advice_text.hpp"
#include "number_text.hpp"

namespace cistern::tool {
namespace {

using detail::json_array;
using detail::json_object;
using detail::json_quoted;

constexpr std::size_t most_sites_in_json = 1000;

[[nodiscard]] std::string spread_json(const spread& time) {
  json_object json;
  json.add_raw("median", fixed(time.median, 1));
  json.add_raw("lower_quartile", fixed(time.lower_quartile, 1));
  json.add_raw("upper_quartile", fixed(time.upper_quartile, 1));
  return json.text();
}

[[nodiscard]] std::string or_null(const std::optional<double>& number, int decimals) {
  return number ? fixed(*number, decimals) : "null";
}

[[nodiscard]] std::string or_null(const std::optional<std::uint64_t>& number) {
  return number ? std::to_string(*number) : "null";
}

/// [[least, count], ...] of the powers that occur.
[[nodiscard]] std::string powers_json(const detail::power_counts& counts) {
  std::vector<std::string> pairs;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    const std::uint64_t least = i == 0 ? 0 : std::uint64_t{1} << (i - 1);
    pairs.push_back(json_array({std::to_string(least), std::to_string(counts[i])}));
  }
  return json_array(pairs);
}

[[nodiscard]] std::string growth_json(const detail::growth_facts& growth) {
  json_object json;
  json.add("chains", growth.chains);
  json.add("steps", growth.steps);
  json.add("copied_bytes", growth.copied_bytes);
  json.add("largest_bytes", growth.largest_bytes);
  return json.text();
}

[[nodiscard]] std::string site_json(const advice_report& report, std::uint32_t site) {
  const detail::site_facts& facts = report.profile.sites[site];
  json_object json;
  json.add("site", site);
  json.add_raw("name", json_quoted(report.site_name(site)));
  json.add("stack", facts.stack);
  json.add("allocations", facts.allocations);
  json.add("frees", facts.frees);
  json.add("requested_bytes", facts.requested_bytes);
  json.add("largest_bytes", facts.largest_bytes);
  json.add("peak_blocks", facts.peak_blocks);
  json.add("peak_bytes", facts.peak_bytes);
  json.add("live_blocks", facts.live_blocks);
  json.add("live_bytes", facts.live_bytes);
  json.add("temporaries", facts.temporaries);
  json.add("locals", facts.locals);
  json.add("handed_over", facts.handed_over);
  json.add_raw("growth", growth_json(facts.growth));
  json.add_raw("sizes", powers_json(facts.sizes));
  json.add_raw("lifetimes", powers_json(facts.lifetimes));
  return json.text();
}

[[nodiscard]] std::string advice_json(const advice_report& report, const advice& one) {
  std::vector<std::string> sites;
  for (const std::uint32_t each : one.sites) sites.push_back(std::to_string(each));
  json_object json;
  json.add_raw("kind", json_quoted(to_string(one.what.kind)));
  json.add_raw("headline", json_quoted(headline(report, one)));
  json.add_raw("on", json_quoted(one.what.on));
  json.add_raw("sites", json_array(sites));
  json.add("blocks", one.blocks);
  json.add_raw("gain_nanoseconds", spread_json(one.gain_nanoseconds));
  json.add_raw("copying_nanoseconds", fixed(one.copying_nanoseconds, 1));
  json.add_raw("part_of_calls", fixed(one.part_of_calls, 4));
  json.add_raw("part_of_run", or_null(one.part_of_run, 4));
  json.add_raw("peak_resident_bytes", or_null(one.peak_resident_bytes));
  json.add_raw("costs", json_quoted(cost_of(one)));
  json.add_raw("code", json_quoted(code_of(report, one)));
  return json.text();
}

[[nodiscard]] std::string profile_json(const advice_report& report) {
  const detail::trace_profile& profile = report.profile;
  json_object json;
  json.add_raw("file", json_quoted(report.trace));
  json.add_raw("cut_off", profile.cut ? "true" : "false");
  json.add_raw("has_stacks", profile.has_stacks ? "true" : "false");
  json.add("sample_bytes", report.sample_bytes);
  json.add("calls", profile.calls);
  json.add("allocations", profile.allocations);
  json.add("threads", profile.threads);
  json.add("requested_bytes", profile.requested_bytes);
  json.add("peak_asked_bytes", profile.peak_bytes);
  json.add("left_live", profile.left_live);
  json.add("nanoseconds", static_cast<std::uint64_t>(profile.duration.count()));
  return json.text();
}

[[nodiscard]] std::string hand_over_json(const detail::hand_over& between) {
  json_object json;
  json.add("from_thread", between.from_thread);
  json.add("to_thread", between.to_thread);
  json.add("blocks", between.blocks);
  json.add("bytes", between.bytes);
  return json.text();
}

}  // namespace

std::string as_json(const advice_report& report) {
  const trace_verdict& verdict = report.verdict;
  std::vector<std::string> advices;
  advices.reserve(verdict.advices.size());
  for (const advice& each : verdict.advices) advices.push_back(advice_json(report, each));
  std::vector<std::uint32_t> numbers = sites_by_calls(report.profile);
  numbers.resize(std::min(numbers.size(), most_sites_in_json));
  std::vector<std::string> sites;
  sites.reserve(numbers.size());
  for (const std::uint32_t each : numbers) sites.push_back(site_json(report, each));
  std::vector<std::string> between;
  between.reserve(report.profile.hand_overs.size());
  for (const detail::hand_over& each : report.profile.hand_overs) between.push_back(hand_over_json(each));
  const std::string kind =
      verdict.advices.empty() ? "no_pool_needed" : to_string(verdict.advices.front().what.kind);
  json_object json;
  json.add_raw("trace", profile_json(report));
  json.add_raw("verdict", json_quoted(kind));
  json.add_raw("headline", json_quoted(headline(report)));
  json.add_raw("reason", json_quoted(to_string(verdict.reason)));
  json.add_raw("calls_nanoseconds", spread_json(verdict.calls_nanoseconds));
  json.add_raw("run_nanoseconds", or_null(verdict.run_nanoseconds, 0));
  json.add_raw("part_of_run", or_null(verdict.part_of_run(), 4));
  json.add_raw("peak_resident_bytes", or_null(verdict.peak_resident_bytes));
  json.add_raw("one_shot", verdict.plan.is_one_shot ? "true" : "false");
  json.add_raw("advices", json_array(advices));
  json.add_raw("sites", json_array(sites));
  json.add_raw("hand_overs", json_array(between));
  return json.text() + '\n';
}

}  // namespace cistern::tool
