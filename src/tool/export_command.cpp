#include "export_command.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "command_options.hpp"
#include "heaptrack_file.hpp"
#include "output_check.hpp"
#include "pprof_profile.hpp"
#include "speedscope_file.hpp"
#include "trace_input.hpp"
#include "trace_sums.hpp"
#include "usage_error.hpp"

namespace cistern::tool {
namespace {

constexpr std::array<std::string_view, 3> formats = {"pprof", "heaptrack", "speedscope"};

struct export_options {
  std::string file;
  std::string format;
  std::string output;
};

/// Calls `write(std::ostream&)` for what is opened only now: before, the trace may turn out to be none.
template <class Write>
void write_to(const std::string& path, Write write) {
  if (path == "-") return write(std::cout);
  std::ofstream out(path, std::ios::binary);
  if (out) write(out);
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

void write_events(const export_options& options) {
  trace_reader trace(source_named(options.file));
  write_to(options.output, [&](std::ostream& out) { write_heaptrack(trace, options.file, out); });
}

void write_sums(const export_options& options) {
  const summed_trace trace(options.file);
  if (!trace.trace().has_stacks()) {
    std::cerr
        << "cistern-trace: the trace has no stacks, so that all is of one unknown place: record it with "
           "--stacks\n";
  }
  const std::string text = options.format == "pprof" ? as_pprof(trace) : as_speedscope(trace, options.file);
  write_to(options.output, [&](std::ostream& out) { out << text; });
}

[[nodiscard]] int run_export(const export_options& options) {
  if (options.output != "-") check_outputs({{"FILE", options.file}}, {{"--output", options.output}});
  if (options.format == "heaptrack") {
    write_events(options);
  } else {
    write_sums(options);
  }
  return 0;
}

void check_format(const std::string& format) {
  if (std::find(formats.begin(), formats.end(), format) != formats.end()) return;
  throw usage_error("--format takes pprof, heaptrack or speedscope: " + format);
}

constexpr const char* export_footer =
    R"(Then, for example: go tool pprof -http=: OUT, heaptrack_gui OUT, or the page https://www.speedscope.app.

Exit status: 0 if all went well; 1 if the trace can't be read, or the file not written; 2 if the arguments make no
sense. A trace that was cut off is written as far as it goes.)";

}  // namespace

void add_export_command(CLI::App& app, invocation& run) {
  const auto options = std::make_shared<export_options>();
  CLI::App& command = *app.add_subcommand("export", "a trace as a file for the viewers of other tools");
  command
      .add_option("--format", options->format,
                  "pprof: calls, bytes, live blocks and bytes at the\n"
                  "peak and at the end, by stack;\n"
                  "speedscope: the same as flame graphs;\n"
                  "heaptrack: every call")
      ->type_name("FORMAT")
      ->required();
  command
      .add_option("-o,--output", options->output,
                  "the file; written over if it is there; - is standard output")
      ->type_name("OUT")
      ->required();
  add_trace_argument(command, options->file);
  command.footer(export_footer);
  command.callback([options, &run] {
    check_format(options->format);
    run.status = run_export(*options);
  });
}

}  // namespace cistern::tool
