#include "replay_report.hpp"

#include <algorithm>
#include <cmath>

#include "../base/statistics_text.hpp"
#include "csv_text.hpp"
#include "number_text.hpp"

namespace cistern::tool {
namespace {

using detail::in_binary_units;
using detail::json_array;
using detail::json_object;
using detail::json_quoted;
using detail::with_thousands;

struct quartiles {
  double lower;
  double median;
  double upper;
};

[[nodiscard]] quartiles quartiles_of(const replayed_on& one) {
  return {quantile(one.rounds, 0.25), quantile(one.rounds, 0.5), quantile(one.rounds, 0.75)};
}

/// Of what is resident at the most to what is asked for at the most.
[[nodiscard]] std::optional<double> fragmentation(const replay_results& results, const replayed_on& one) {
  if (!one.memory || results.script.peak_bytes == 0) return std::nullopt;
  return static_cast<double>(one.memory->peak_resident_bytes) /
         static_cast<double>(results.script.peak_bytes);
}

[[nodiscard]] std::vector<std::string> table_row(const replay_results& results, const replayed_on& one) {
  const quartiles time = quartiles_of(one);
  std::vector<std::string> row = {one.name, fixed(time.median, 1),
                                  fixed(time.lower, 1) + " - " + fixed(time.upper, 1),
                                  fixed(time_ratio(one, results.resources.front()), 2),
                                  time_text(static_cast<double>(one.longest_call.count()))};
  if (!one.memory) {
    row.insert(row.end(), {"-", "-", "-", "-"});
    return row;
  }
  const std::optional<double> asked = fragmentation(results, one);
  row.push_back(in_binary_units(one.memory->peak_resident_bytes));
  row.push_back(asked ? fixed(*asked, 2) : "-");
  row.push_back(in_binary_units(one.memory->held_after_trim_bytes));
  row.push_back(one.memory->upstream_allocations ? with_thousands(*one.memory->upstream_allocations) : "-");
  return row;
}

[[nodiscard]] std::string counted(std::uint64_t number, const char* what) {
  return with_thousands(number) + " " + what + (number == 1 ? "" : "s");
}

[[nodiscard]] std::string as_json(const memory_point& point) {
  json_object json;
  json.add("calls", point.at.calls);
  json.add("nanoseconds", static_cast<std::uint64_t>(point.at.time.count()));
  json.add("asked_bytes", point.at.asked_bytes);
  json.add("resident_bytes", point.resident_bytes);
  json.add_raw("upstream_bytes", point.upstream_bytes ? std::to_string(*point.upstream_bytes) : "null");
  return json.text();
}

[[nodiscard]] std::string memory_json(const replay_results& results, const replayed_on& one) {
  if (!one.memory) return "null";
  const std::optional<double> asked = fragmentation(results, one);
  std::vector<std::string> points;
  for (const memory_point& each : one.memory->over_time) points.push_back(as_json(each));
  json_object json;
  json.add("peak_resident_bytes", one.memory->peak_resident_bytes);
  json.add("peak_asked_bytes", results.script.peak_bytes);
  json.add_raw("fragmentation", asked ? fixed(*asked, 3) : "null");
  json.add("held_after_trim_bytes", one.memory->held_after_trim_bytes);
  json.add_raw("upstream_allocations",
               one.memory->upstream_allocations ? std::to_string(*one.memory->upstream_allocations) : "null");
  json.add_raw("over_time", json_array(points));
  return json.text();
}

[[nodiscard]] std::string as_json(const replay_results& results, const replayed_on& one) {
  const quartiles time = quartiles_of(one);
  std::vector<std::string> rounds;
  for (const double each : one.rounds) rounds.push_back(fixed(each, 3));
  json_object times;
  times.add_raw("median", fixed(time.median, 3));
  times.add_raw("lower_quartile", fixed(time.lower, 3));
  times.add_raw("upper_quartile", fixed(time.upper, 3));
  times.add_raw("rounds", json_array(rounds));
  json_object json;
  json.add_raw("name", json_quoted(one.name));
  json.add_raw("nanoseconds_per_call", times.text());
  json.add_raw("ratio", fixed(time_ratio(one, results.resources.front()), 4));
  json.add("longest_call_nanoseconds", static_cast<std::uint64_t>(one.longest_call.count()));
  json.add("refused", one.refused);
  json.add_raw("memory", memory_json(results, one));
  return json.text();
}

[[nodiscard]] std::string trace_json(const replay_results& results) {
  const detail::replay_script& script = results.script;
  json_object json;
  json.add_raw("file", json_quoted(results.trace));
  json.add_raw("cut_off", script.cut ? "true" : "false");
  json.add("calls", script.calls());
  json.add("recorded_threads", script.recorded_threads);
  json.add("replayed_threads", script.lanes.size());
  json.add("handed_over", script.handed_over);
  json.add("left_live", script.left_live);
  json.add("failed_when_recorded", script.failed_in_trace);
  json.add("frees_of_blocks_from_before", script.foreign_frees);
  json.add("requested_bytes", script.requested_bytes);
  json.add("peak_asked_bytes", script.peak_bytes);
  return json.text();
}

}  // namespace

double quantile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double position = part * static_cast<double>(values.size() - 1);
  const double whole = std::floor(position);
  const auto below = static_cast<std::size_t>(whole);
  const std::size_t next = std::min(below + 1, values.size() - 1);
  return values[below] + (values[next] - values[below]) * (position - whole);
}

double time_ratio(const replayed_on& one, const replayed_on& other) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(one.rounds.size(), other.rounds.size()); ++i) {
    if (other.rounds[i] > 0) ratios.push_back(one.rounds[i] / other.rounds[i]);
  }
  return quantile(std::move(ratios), 0.5);
}

std::string as_table(const replay_results& results) {
  const detail::replay_script& script = results.script;
  std::string text = counted(script.calls(), "call") + " by " + counted(script.recorded_threads, "thread") +
                     ", replayed on " + with_thousands(script.lanes.size()) + "; " +
                     counted(script.handed_over, "block") + " freed by another thread; at the peak " +
                     in_binary_units(script.peak_bytes) + " asked for\n\n";
  detail::text_table table(detail::text_table::first_column::left);
  table.add_row({"", "ns/call", "quartiles", "ratio", "longest call", "peak resident", "/ asked",
                 "after trim", "upstream calls"});
  table.add_rule();
  for (const replayed_on& each : results.resources) table.add_row(table_row(results, each));
  return text + table.text();
}

std::string as_csv(const replay_results& results) {
  std::string text =
      "resource,nanoseconds_per_call,lower_quartile,upper_quartile,ratio,longest_call_nanoseconds,refused,"
      "peak_resident_bytes,peak_asked_bytes,fragmentation,held_after_trim_bytes,upstream_allocations\n";
  for (const replayed_on& each : results.resources) {
    const quartiles time = quartiles_of(each);
    const std::optional<double> asked = fragmentation(results, each);
    text += csv_quoted(each.name) + ',' + fixed(time.median, 3) + ',' + fixed(time.lower, 3) + ',' +
            fixed(time.upper, 3) + ',' + fixed(time_ratio(each, results.resources.front()), 4) + ',' +
            std::to_string(each.longest_call.count()) + ',' + std::to_string(each.refused) + ',';
    text += (each.memory ? std::to_string(each.memory->peak_resident_bytes) : "") + ',';
    text += std::to_string(results.script.peak_bytes) + ',' + (asked ? fixed(*asked, 3) : "") + ',';
    text += (each.memory ? std::to_string(each.memory->held_after_trim_bytes) : "") + ',';
    if (each.memory && each.memory->upstream_allocations) {
      text += std::to_string(*each.memory->upstream_allocations);
    }
    text += '\n';
  }
  return text;
}

std::string as_json(const replay_results& results) {
  std::vector<std::string> resources;
  for (const replayed_on& each : results.resources) resources.push_back(as_json(results, each));
  json_object json;
  json.add_raw("trace", trace_json(results));
  json.add("rounds", results.resources.empty() ? 0 : results.resources.front().rounds.size());
  json.add_raw("resources", json_array(resources));
  return json.text() + '\n';
}

}  // namespace cistern::tool
