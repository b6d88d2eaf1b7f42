#include "diff_command.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "command_options.hpp"
#include "export_file.hpp"
#include "output_check.hpp"
#include "peeked_source.hpp"
#include "replay_diff.hpp"
#include "replay_file.hpp"
#include "trace_diff.hpp"
#include "trace_input.hpp"
#include "trace_sums.hpp"
#include "usage_error.hpp"

namespace cistern::tool {
namespace {

struct diff_options {
  std::string before;
  std::string after;
  std::optional<std::string> by;
  std::optional<std::size_t> first;
  std::string json;
  std::string csv;
};

/// A trace or a report, of which nothing is lost yet.
struct diff_input {
  std::string path;
  trace_source source;
  bool is_report;
};

[[nodiscard]] diff_order order_named(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, diff_order>, 4> orders = {{{"bytes", diff_order::bytes},
                                                                              {"calls", diff_order::calls},
                                                                              {"peak", diff_order::peak},
                                                                              {"live", diff_order::live}}};
  for (const auto& [each, order] : orders) {
    if (each == name) return order;
  }
  throw usage_error("--by takes bytes, calls, peak or live: " + name);
}

/// No trace begins as JSON does.
[[nodiscard]] diff_input input_at(const std::string& path) {
  peeked_source peeked = peek(source_named(path), 1);
  const bool is_report = !peeked.first.empty() && peeked.first.front() == std::byte{'{'};
  return {path, std::move(peeked.whole), is_report};
}

[[nodiscard]] replay_file report_in(const diff_input& input) {
  std::string text;
  std::array<std::byte, 65536> part{};
  while (const std::size_t got = input.source(part)) {
    std::transform(part.begin(), part.begin() + static_cast<std::ptrdiff_t>(got), std::back_inserter(text),
                   [](std::byte each) { return static_cast<char>(each); });
  }
  return replay_file_from(text, input.path);
}

void compare_reports(const diff_input& before, const diff_input& after, const export_file& json,
                     const export_file& csv) {
  const replay_diff diff = difference(report_in(before), report_in(after));
  std::cout << as_text(diff);
  if (json.is_wanted()) json.write(as_json(diff));
  if (csv.is_wanted()) csv.write(as_csv(diff));
}

void compare_traces(diff_input before_input, diff_input after_input, diff_order order, std::size_t most_sites,
                    const export_file& json) {
  const summed_trace before(std::move(before_input.source), before_input.path);
  const summed_trace after(std::move(after_input.source), after_input.path);
  const trace_diff diff = difference(before, after, order);
  std::cout << as_text(diff, order, most_sites);
  if (!diff.has_stacks) {
    std::cout.flush();
    std::cerr << "cistern-trace: there is nothing about call sites: record both traces with --stacks\n";
  }
  if (json.is_wanted()) json.write(as_json(diff));
}

/// What the kind of the inputs makes senseless.
void check_kinds(const diff_input& before, const diff_input& after, const diff_options& options) {
  if (before.is_report != after.is_report) {
    const diff_input& report = before.is_report ? before : after;
    const diff_input& other = before.is_report ? after : before;
    throw usage_error(report.path + " is a report of replay, and " + other.path +
                      " is none: two traces can be compared, or two reports");
  }
  if (before.is_report && (options.by || options.first)) {
    throw usage_error("--by and --first are about call sites, and reports have none");
  }
  if (!before.is_report && !options.csv.empty()) {
    throw usage_error("--csv is for reports; --json has all figures of traces");
  }
}

[[nodiscard]] int run_diff(const diff_options& options) {
  const diff_order order = order_named(options.by.value_or("bytes"));
  if (options.before == "-" && options.after == "-")
    throw usage_error("only one of the two can be standard input");
  check_outputs({{"BEFORE", options.before}, {"AFTER", options.after}},
                {{"--json", options.json}, {"--csv", options.csv}});
  diff_input before = input_at(options.before);
  diff_input after = input_at(options.after);
  check_kinds(before, after, options);
  const export_file json(options.json);
  const export_file csv(options.csv);
  if (before.is_report) {
    compare_reports(before, after, json, csv);
  } else {
    compare_traces(std::move(before), std::move(after), order, options.first.value_or(10), json);
  }
  return 0;
}

constexpr const char* diff_footer =
    R"(Call sites are compared by the names of the functions in their stacks, so that the programs need not be the same file.

Of two reports, which replay --json has written, it compares what is in both by name. Times are of different runs: the
ratio to the resource that is first in both bears more.

Exit status: 0 if all went well, whether they differ or not; 1 if one can't be read, or the reports have no resource in
common; 2 if the arguments make no sense. A trace that was cut off is compared as far as it goes.)";

}  // namespace

void add_diff_command(CLI::App& app, invocation& run) {
  const auto options = std::make_shared<diff_options>();
  CLI::App& command = *app.add_subcommand(
      "diff", "what a change made more and less of: by two traces, or by two reports of replay");
  command.add_option("--by", options->by, "what call sites are sorted by: bytes, calls, peak, live\n(bytes)")
      ->type_name("FIGURE");
  command
      .add_option("-n,--first", options->first,
                  "so many call sites of which there is more, and as\n"
                  "many of which there is less (10)")
      ->type_name("N")
      ->check(CLI::Range(std::numeric_limits<std::uint32_t>::max()).description(""));
  command.add_option("--json", options->json, "writes all figures, of all call sites")->type_name("FILE");
  command.add_option("--csv", options->csv, "of reports: a line for each figure of each resource")
      ->type_name("FILE");
  command
      .add_option("BEFORE", options->before,
                  "a trace, or what replay --json has written;\n- means standard input")
      ->type_name("")
      ->required();
  command.add_option("AFTER", options->after, "another one of that kind")->type_name("")->required();
  command.footer(diff_footer);
  command.callback([options, &run] { run.status = run_diff(*options); });
}

}  // namespace cistern::tool
