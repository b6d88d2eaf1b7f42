#include "advise_command.hpp"

#include <cistern/adaptor/trace_advice.hpp>
#include <cistern/adaptor/trace_reader.hpp>

#include <iostream>
#include <memory>
#include <string>

#include "command_options.hpp"
#include "trace_input.hpp"

namespace cistern::tool {
namespace {

struct advise_options {
  std::string file;
};

[[nodiscard]] int print_advice(const advise_options& options) {
  trace_reader trace(source_named(options.file));
  std::cout << advise(trace);
  say_how_it_ended(trace);
  return 0;
}

}  // namespace

void add_advise_command(CLI::App& app, invocation& run) {
  const auto options = std::make_shared<advise_options>();
  CLI::App& command = *app.add_subcommand("advise", "which pool, with which options, suits a trace");
  add_trace_argument(command, options->file);
  command.callback([options, &run] { run.status = print_advice(*options); });
}

}  // namespace cistern::tool
