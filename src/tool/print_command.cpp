#include "print_command.hpp"

#include <cistern/adaptor/trace_reader.hpp>

#include <iostream>
#include <memory>
#include <string>

#include "command_options.hpp"
#include "print_stacks.hpp"
#include "trace_input.hpp"

namespace cistern::tool {
namespace {

struct print_options {
  std::string file;
};

[[nodiscard]] int print(const print_options& options) {
  trace_reader trace(source_named(options.file));
  std::cout << "nanoseconds thread call bytes alignment address block\n";
  stack_printer stacks(trace, std::cout);
  for (trace_event event; trace.next(event);) {
    stacks.print_if_new(event.stack);
    std::cout << event.time.count() << ' ' << event.thread << ' ' << to_string(event.call) << ' '
              << event.bytes << ' ' << event.alignment << ' ';
    if (event.call == trace_call::failed_allocate) {
      std::cout << "- -";
    } else {
      std::cout << "0x" << in_hexadecimal(event.address) << ' ' << event.block;
      if (event.call == trace_call::reallocate) std::cout << " from " << event.old_block;
    }
    if (trace.has_stacks()) std::cout << " at " << event.stack;
    std::cout << '\n';
  }
  say_how_it_ended(trace);
  return 0;
}

}  // namespace

void add_print_command(CLI::App& app, invocation& run) {
  const auto options = std::make_shared<print_options>();
  CLI::App& command = *app.add_subcommand(
      "print", "every call of a trace, one line each, and the stacks that it was made from");
  add_trace_argument(command, options->file);
  command.callback([options, &run] { run.status = print(*options); });
}

}  // namespace cistern::tool
