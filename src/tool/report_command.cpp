#include "report_command.hpp"

#include <memory>

#include "command_options.hpp"
#include "report.hpp"

namespace cistern::tool {

void add_report_command(CLI::App& app, invocation& run) {
  const auto options = std::make_shared<report_options>();
  CLI::App& command = *app.add_subcommand("report", "a page to look at and to send, one file, from a trace");
  command
      .add_option("-o,--output", options->output,
                  "the page; else the trace's name and .html, here; - is standard output")
      ->type_name("FILE");
  command
      .add_option("--replay", options->replay,
                  "what replay --json wrote about the trace: shows the allocators beside each other")
      ->type_name("FILE");
  command
      .add_option("--advice", options->advice, "what advise --json wrote about the trace: is shown on top")
      ->type_name("FILE");
  add_trace_argument(command, options->trace);
  command.callback([options, &run] { run.status = write_report(*options); });
}

}  // namespace cistern::tool
