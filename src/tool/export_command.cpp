#include "export_command.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "command_options.hpp"
#include "heaptrack_file.hpp"
#include "pprof_profile.hpp"
#include "speedscope_file.hpp"
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

void write_as(const export_options& options, std::ostream& out) {
  if (options.format == "heaptrack") return write_heaptrack(options.file, out);
  const summed_trace trace(options.file);
  if (!trace.trace().has_stacks()) {
    std::cerr
        << "cistern-trace: the trace has no stacks, so that all is of one unknown place: record it with "
           "--stacks\n";
  }
  out << (options.format == "pprof" ? as_pprof(trace) : as_speedscope(trace, options.file));
}

[[nodiscard]] int run_export(const export_options& options) {
  if (options.output == "-") {
    write_as(options, std::cout);
    return 0;
  }
  std::error_code none;
  if (options.file != "-" && std::filesystem::equivalent(options.file, options.output, none)) {
    throw usage_error("--output is the trace itself: " + options.output);
  }
  std::ofstream out(options.output, std::ios::binary);
  if (out) write_as(options, out);
  if (!out.flush()) throw std::runtime_error("cannot write " + options.output);
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
