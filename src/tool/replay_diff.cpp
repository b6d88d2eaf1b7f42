#include "replay_diff.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>

#include "../base/statistics_text.hpp"
#include "csv_text.hpp"
#include "number_text.hpp"

namespace cistern::tool {
namespace {

enum class replay_unit { nanoseconds, time, ratio, bytes, count };

/// One of the figures of a resource; its name in the table, if it has a row of its own there.
struct replay_figure {
  const char* name;
  const char* key;
  std::optional<double> reported_resource::*value;
  replay_unit unit;
};
constexpr std::array replay_figures = {
    replay_figure{"ns/call (quartiles)", "nanoseconds_per_call", &reported_resource::nanoseconds_per_call,
                  replay_unit::nanoseconds},
    replay_figure{nullptr, "lower_quartile", &reported_resource::lower_quartile, replay_unit::nanoseconds},
    replay_figure{nullptr, "upper_quartile", &reported_resource::upper_quartile, replay_unit::nanoseconds},
    replay_figure{"all calls", "all_calls_nanoseconds", &reported_resource::all_calls_nanoseconds,
                  replay_unit::time},
    replay_figure{"to the first", "ratio", &reported_resource::ratio, replay_unit::ratio},
    replay_figure{"longest call", "longest_call_nanoseconds", &reported_resource::longest_call_nanoseconds,
                  replay_unit::time},
    replay_figure{"refused", "refused", &reported_resource::refused, replay_unit::count},
    replay_figure{"peak resident", "peak_resident_bytes", &reported_resource::peak_resident_bytes,
                  replay_unit::bytes},
    replay_figure{"/ asked", "fragmentation", &reported_resource::fragmentation, replay_unit::ratio},
    replay_figure{"peak held", "peak_held_bytes", &reported_resource::peak_held_bytes, replay_unit::bytes},
    replay_figure{"after trim", "held_after_trim_bytes", &reported_resource::held_after_trim_bytes,
                  replay_unit::bytes},
    replay_figure{"upstream calls", "upstream_allocations", &reported_resource::upstream_allocations,
                  replay_unit::count},
};

/// What after is of before.
[[nodiscard]] std::optional<double> ratio_of(const replay_pair& pair, const replay_figure& figure) {
  const std::optional<double> before = pair.before.*figure.value;
  const std::optional<double> after = pair.after.*figure.value;
  if (!before || !after || *before == 0) return std::nullopt;
  return *after / *before;
}

[[nodiscard]] std::string amount_of(const reported_resource& resource, const replay_figure& figure) {
  const std::optional<double> value = resource.*figure.value;
  if (!value) return "-";
  switch (figure.unit) {
    case replay_unit::time:
      return time_text(*value);
    case replay_unit::ratio:
      return fixed(*value, 2);
    case replay_unit::bytes:
      return detail::in_binary_units(static_cast<std::uint64_t>(*value));
    case replay_unit::count:
      return detail::with_thousands(static_cast<std::uint64_t>(*value));
    case replay_unit::nanoseconds:
      break;
  }
  return fixed(*value, 1) + " (" + fixed(resource.lower_quartile.value_or(0), 1) + " - " +
         fixed(resource.upper_quartile.value_or(0), 1) + ")";
}

/// Nothing was refused, mostly, and what wasn't measured is no figure.
[[nodiscard]] bool is_worth_a_row(const replay_pair& pair, const replay_figure& figure) {
  if (figure.name == nullptr) return false;
  const std::optional<double> before = pair.before.*figure.value;
  const std::optional<double> after = pair.after.*figure.value;
  if (figure.value == &reported_resource::refused) return before.value_or(0) + after.value_or(0) > 0;
  return before || after;
}

[[nodiscard]] std::string as_table(const replay_diff& diff) {
  detail::text_table table(detail::text_table::first_column::left);
  table.add_row({"", "before", "after", "ratio"});
  table.add_rule();
  for (const replay_pair& pair : diff.in_both) {
    table.add_row({pair.before.name});
    for (const replay_figure& each : replay_figures) {
      if (!is_worth_a_row(pair, each)) continue;
      const std::optional<double> ratio = ratio_of(pair, each);
      table.add_row({std::string("  ") + each.name, amount_of(pair.before, each), amount_of(pair.after, each),
                     ratio ? fixed(*ratio, *ratio < 0.0995 ? 3 : 2) : "-"});
    }
  }
  return table.text();
}

[[nodiscard]] std::string about(const replay_file& file) {
  return file.trace + ": " + detail::with_thousands(file.calls) + " calls, at the peak " +
         detail::in_binary_units(file.peak_asked_bytes) + " asked for; times are of " +
         detail::with_thousands(file.rounds) + (file.rounds == 1 ? " round\n" : " rounds\n");
}

[[nodiscard]] std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& each : names) text += (text.empty() ? "" : ", ") + each;
  return text;
}

[[nodiscard]] std::string left_out(const char* where, const std::vector<std::string>& names) {
  return names.empty() ? "" : '\n' + std::string(where) + ": " + listed(names) + '\n';
}

[[nodiscard]] const reported_resource* found_in(const replay_file& file, const std::string& name) {
  const auto found = std::find_if(file.resources.begin(), file.resources.end(),
                                  [&name](const reported_resource& each) { return each.name == name; });
  return found == file.resources.end() ? nullptr : &*found;
}

[[nodiscard]] std::vector<std::string> names_not_in(const replay_file& other, const replay_file& file) {
  std::vector<std::string> names;
  for (const reported_resource& each : file.resources) {
    if (found_in(other, each.name) == nullptr) names.push_back(each.name);
  }
  return names;
}

/// As JSON and CSV have it: no more decimals than were reported.
[[nodiscard]] std::string digits_of(std::optional<double> value, const replay_figure& figure) {
  if (!value) return "";
  const bool is_whole = figure.unit == replay_unit::bytes || figure.unit == replay_unit::count ||
                        figure.unit == replay_unit::time;
  return fixed(*value, is_whole ? 0 : figure.value == &reported_resource::ratio ? 4 : 3);
}

/// The figure before and after, and what the one is of the other; empty where there is none.
[[nodiscard]] std::array<std::string, 3> cells_of(const replay_pair& pair, const replay_figure& figure) {
  const std::optional<double> ratio = ratio_of(pair, figure);
  return {digits_of(pair.before.*figure.value, figure), digits_of(pair.after.*figure.value, figure),
          ratio ? fixed(*ratio, 4) : ""};
}

[[nodiscard]] std::string as_json(const replay_pair& pair) {
  detail::json_object json;
  json.add_raw("name", detail::json_quoted(pair.before.name));
  for (const replay_figure& each : replay_figures) {
    const auto cells = cells_of(pair, each);
    detail::json_object figure;
    constexpr std::array keys = {"before", "after", "ratio"};
    for (std::size_t i = 0; i < keys.size(); ++i)
      figure.add_raw(keys[i], cells[i].empty() ? "null" : cells[i]);
    json.add_raw(each.key, figure.text());
  }
  return json.text();
}

[[nodiscard]] std::string as_json(const replay_file& file) {
  detail::json_object json;
  json.add_raw("file", detail::json_quoted(file.trace));
  json.add("calls", file.calls);
  json.add("recorded_threads", file.recorded_threads);
  json.add("peak_asked_bytes", file.peak_asked_bytes);
  json.add("rounds", file.rounds);
  return json.text();
}

[[nodiscard]] std::string names_json(const std::vector<std::string>& names) {
  std::vector<std::string> values;
  values.reserve(names.size());
  for (const std::string& each : names) values.push_back(detail::json_quoted(each));
  return detail::json_array(values);
}

}  // namespace

replay_diff difference(replay_file before, replay_file after) {
  replay_diff diff{.before = std::move(before),
                   .after = std::move(after),
                   .in_both = {},
                   .only_before = {},
                   .only_after = {}};
  const bool same_first = diff.before.resources.front().name == diff.after.resources.front().name;
  for (const reported_resource& each : diff.before.resources) {
    const reported_resource* const same = found_in(diff.after, each.name);
    if (same == nullptr) continue;
    replay_pair& pair = diff.in_both.emplace_back(replay_pair{each, *same});
    if (!same_first) pair.before.ratio = pair.after.ratio = std::nullopt;  // They are to different ones.
  }
  diff.only_before = names_not_in(diff.after, diff.before);
  diff.only_after = names_not_in(diff.before, diff.after);
  if (diff.in_both.empty()) {
    throw std::runtime_error("the reports have no resource in common: " + listed(diff.only_before) +
                             " before, " + listed(diff.only_after) + " after");
  }
  return diff;
}

std::string as_text(const replay_diff& diff) {
  return "before, " + about(diff.before) + "after, " + about(diff.after) + '\n' + as_table(diff) +
         left_out("only before", diff.only_before) + left_out("only after", diff.only_after);
}

std::string as_json(const replay_diff& diff) {
  std::vector<std::string> resources;
  for (const replay_pair& each : diff.in_both) resources.push_back(as_json(each));
  detail::json_object json;
  json.add_raw("before", as_json(diff.before));
  json.add_raw("after", as_json(diff.after));
  json.add_raw("resources", detail::json_array(resources));
  json.add_raw("only_before", names_json(diff.only_before));
  json.add_raw("only_after", names_json(diff.only_after));
  return json.text() + '\n';
}

std::string as_csv(const replay_diff& diff) {
  std::string text = "resource,figure,before,after,ratio\n";
  for (const replay_pair& pair : diff.in_both) {
    for (const replay_figure& each : replay_figures) {
      text += csv_quoted(pair.before.name) + ',' + each.key;
      for (const std::string& cell : cells_of(pair, each)) text += ',' + cell;
      text += '\n';
    }
  }
  return text;
}

}  // namespace cistern::tool
