#include "diff_command.hpp"

#include <array>
#include <cstddef>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "command_options.hpp"
#include "trace_diff.hpp"
#include "trace_sums.hpp"
#include "usage_error.hpp"

namespace cistern::tool {
namespace {

struct diff_options {
  std::string before;
  std::string after;
  std::string by = "bytes";
  std::size_t first = 10;
  std::string json;
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

[[nodiscard]] int run_diff(const diff_options& options) {
  const diff_order order = order_named(options.by);
  if (options.before == "-" && options.after == "-")
    throw usage_error("only one trace can be standard input");
  std::ofstream json;
  if (!options.json.empty()) json.open(options.json);
  if (!json) throw std::runtime_error("cannot write " + options.json);
  const summed_trace before(options.before);
  const summed_trace after(options.after);
  const trace_diff diff = difference(before, after, order);
  std::cout << as_text(diff, order, options.first);
  if (!diff.has_stacks) {
    std::cout.flush();
    std::cerr << "cistern-trace: there is nothing about call sites: record both traces with --stacks\n";
  }
  if (!options.json.empty() && !(json << as_json(diff) << std::flush)) {
    throw std::runtime_error("cannot write " + options.json);
  }
  return 0;
}

constexpr const char* diff_footer =
    R"(Call sites are compared by the names of the functions in their stacks, so that the programs need not be the same file.

Exit status: 0 if all went well, whether they differ or not; 1 if a trace can't be read; 2 if the arguments make no
sense. A trace that was cut off is compared as far as it goes.)";

}  // namespace

void add_diff_command(CLI::App& app, invocation& run) {
  const auto options = std::make_shared<diff_options>();
  CLI::App& command =
      *app.add_subcommand("diff", "what is more and what is less in one trace than in another");
  command.add_option("--by", options->by, "what call sites are sorted by: bytes, calls, peak, live\n(bytes)")
      ->type_name("FIGURE");
  command
      .add_option("-n,--first", options->first,
                  "so many call sites of which there is more, and as\n"
                  "many of which there is less (10)")
      ->type_name("N");
  command.add_option("--json", options->json, "writes all figures, of all call sites")->type_name("FILE");
  command.add_option("BEFORE", options->before, "a trace; - means standard input")->type_name("")->required();
  command.add_option("AFTER", options->after, "another one")->type_name("")->required();
  command.footer(diff_footer);
  command.callback([options, &run] { run.status = run_diff(*options); });
}

}  // namespace cistern::tool
