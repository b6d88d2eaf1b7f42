#include "trace_diff.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "../base/statistics_text.hpp"
#include "frame_names.hpp"

namespace cistern::tool {
namespace {

[[nodiscard]] std::uint64_t allocation_sums::*figure_of(diff_order order) {
  switch (order) {
    case diff_order::calls:
      return &allocation_sums::calls;
    case diff_order::peak:
      return &allocation_sums::peak_bytes;
    case diff_order::live:
      return &allocation_sums::live_bytes;
    case diff_order::bytes:
      break;
  }
  return &allocation_sums::bytes;
}

/// Sums are counts of what was in memory: far below what a sign takes.
[[nodiscard]] std::int64_t change_of(const diff_row& row, std::uint64_t allocation_sums::*value) {
  return static_cast<std::int64_t>(row.after.*value - row.before.*value);
}

[[nodiscard]] std::uint64_t size_of(std::int64_t change) {
  return change < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(change)
                    : static_cast<std::uint64_t>(change);
}

[[nodiscard]] std::string amount(std::uint64_t value, bool is_bytes) {
  return is_bytes ? detail::in_binary_units(value) : detail::with_thousands(value);
}

[[nodiscard]] std::string signed_amount(std::int64_t change, bool is_bytes) {
  return (change > 0 ? "+" : change < 0 ? "-" : "") + amount(size_of(change), is_bytes);
}

[[nodiscard]] std::string size_name(std::size_t power) {
  if (power == 0) return "up to 1";
  return detail::with_thousands((std::uint64_t{1} << (power - 1)) + 1) + " - " +
         detail::with_thousands(std::uint64_t{1} << power);
}

[[nodiscard]] std::vector<diff_row> rows_by_size(const trace_sums& before, const trace_sums& after) {
  std::vector<diff_row> rows;
  for (std::size_t i = 0; i < std::max(before.by_size.size(), after.by_size.size()); ++i) {
    diff_row row{.name = size_name(i), .before = {}, .after = {}};
    if (i < before.by_size.size()) row.before = before.by_size[i];
    if (i < after.by_size.size()) row.after = after.by_size[i];
    if (row.before.calls != 0 || row.after.calls != 0) rows.push_back(std::move(row));
  }
  return rows;
}

using rows_by_name = std::map<std::string, diff_row>;

void add_sites(rows_by_name& rows, const summed_trace& trace, allocation_sums diff_row::*side) {
  frame_names names(trace.trace().stacks());
  const std::vector<allocation_sums>& by_stack = trace.sums().by_stack;
  for (std::size_t i = 0; i < by_stack.size(); ++i) {
    if (by_stack[i].calls == 0) continue;
    std::string name = names.stack_text(i);
    if (name.empty()) name = unknown_place + '\n';
    rows[name].*side += by_stack[i];
  }
}

[[nodiscard]] std::vector<diff_row> rows_by_site(const summed_trace& before, const summed_trace& after,
                                                 diff_order order) {
  rows_by_name by_name;
  add_sites(by_name, before, &diff_row::before);
  add_sites(by_name, after, &diff_row::after);
  std::vector<diff_row> rows;
  for (auto& [name, row] : by_name) {
    if (row.before == row.after) continue;
    row.name = name;
    rows.push_back(std::move(row));
  }
  const auto value = figure_of(order);
  std::stable_sort(rows.begin(), rows.end(), [value](const diff_row& one, const diff_row& other) {
    return size_of(change_of(one, value)) > size_of(change_of(other, value));
  });
  return rows;
}

[[nodiscard]] std::string totals_text(const diff_row& all) {
  detail::text_table table(detail::text_table::first_column::left);
  table.add_row({"", "before", "after", "change"});
  table.add_rule();
  for (const allocation_figure& each : allocation_figures) {
    table.add_row({each.name, amount(all.before.*each.value, each.is_bytes),
                   amount(all.after.*each.value, each.is_bytes),
                   signed_amount(change_of(all, each.value), each.is_bytes)});
  }
  return table.text();
}

[[nodiscard]] std::string sizes_text(const std::vector<diff_row>& rows) {
  detail::text_table table(detail::text_table::first_column::left);
  table.add_row({"bytes of a block", "calls", "change", "bytes", "change", "at the peak", "change"});
  table.add_rule();
  for (const diff_row& each : rows) {
    table.add_row(
        {each.name, amount(each.after.calls, false),
         signed_amount(change_of(each, &allocation_sums::calls), false), amount(each.after.bytes, true),
         signed_amount(change_of(each, &allocation_sums::bytes), true), amount(each.after.peak_bytes, true),
         signed_amount(change_of(each, &allocation_sums::peak_bytes), true)});
  }
  return table.text();
}

[[nodiscard]] std::string site_text(const diff_row& row) {
  const auto calls = change_of(row, &allocation_sums::calls);
  std::string text = signed_amount(change_of(row, &allocation_sums::bytes), true) + " (" +
                     amount(row.before.bytes, true) + " to " + amount(row.after.bytes, true) + "), " +
                     signed_amount(calls, false) + (size_of(calls) == 1 ? " call" : " calls") + ", " +
                     signed_amount(change_of(row, &allocation_sums::peak_bytes), true) + " at the peak, " +
                     signed_amount(change_of(row, &allocation_sums::live_bytes), true) + " at the end\n";
  for (std::size_t begin = 0; begin < row.name.size();) {
    const std::size_t end = row.name.find('\n', begin) + 1;
    text += "    " + row.name.substr(begin, end - begin);
    begin = end;
  }
  return text;
}

/// Those whose change has this sign.
[[nodiscard]] std::string sites_text(const trace_diff& diff, diff_order order, std::size_t most,
                                     bool is_more) {
  std::string text;
  std::size_t found = 0;
  for (const diff_row& each : diff.by_site) {
    const std::int64_t change = change_of(each, figure_of(order));
    if (change == 0 || (change > 0) != is_more) continue;
    if (++found <= most) text += '\n' + site_text(each);
  }
  if (found == 0) return {};
  const std::string title = is_more ? "More from" : "Less from";
  std::string left_out;
  if (found > most) left_out = "\nand " + detail::with_thousands(found - most) + " more\n";
  return '\n' + title + ' ' + detail::with_thousands(found) +
         (found == 1 ? " call site\n" : " call sites\n") + text + left_out;
}

[[nodiscard]] std::string sums_json(const allocation_sums& sums) {
  detail::json_object json;
  for (const allocation_figure& each : allocation_figures) json.add(each.key, sums.*each.value);
  return json.text();
}

void add_both(detail::json_object& json, const diff_row& row) {
  json.add_raw("before", sums_json(row.before));
  json.add_raw("after", sums_json(row.after));
}

[[nodiscard]] std::string stack_json(const std::string& name) {
  std::vector<std::string> places;
  for (std::size_t begin = 0; begin < name.size();) {
    const std::size_t end = name.find('\n', begin);
    places.push_back(detail::json_quoted(name.substr(begin, end - begin)));
    begin = end + 1;
  }
  return detail::json_array(places);
}

}  // namespace

trace_diff difference(const summed_trace& before, const summed_trace& after, diff_order order) {
  trace_diff diff;
  diff.all = {.name = "", .before = before.sums().all, .after = after.sums().all};
  diff.by_size = rows_by_size(before.sums(), after.sums());
  diff.has_stacks = before.trace().has_stacks() && after.trace().has_stacks();
  if (diff.has_stacks) diff.by_site = rows_by_site(before, after, order);
  return diff;
}

std::string as_text(const trace_diff& diff, diff_order order, std::size_t most_sites) {
  return totals_text(diff.all) + '\n' + sizes_text(diff.by_size) + sites_text(diff, order, most_sites, true) +
         sites_text(diff, order, most_sites, false);
}

std::string as_json(const trace_diff& diff) {
  std::vector<std::string> sizes;
  for (const diff_row& each : diff.by_size) {
    detail::json_object json;
    json.add_raw("sizes", detail::json_quoted(each.name));
    add_both(json, each);
    sizes.push_back(json.text());
  }
  std::vector<std::string> sites;
  for (const diff_row& each : diff.by_site) {
    detail::json_object json;
    json.add_raw("stack", stack_json(each.name));
    add_both(json, each);
    sites.push_back(json.text());
  }
  detail::json_object json;
  add_both(json, diff.all);
  json.add_raw("by_size", detail::json_array(sizes));
  json.add_raw("by_call_site", diff.has_stacks ? detail::json_array(sites) : "null");
  return json.text() + '\n';
}

}  // namespace cistern::tool
