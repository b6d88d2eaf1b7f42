// cistern-trace: prints a recorded trace, replays it on a resource, and says which pool would suit it.
#include <cistern/adaptor/trace_advice.hpp>
#include <cistern/adaptor/trace_reader.hpp>

#include <cstdint>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "print_stacks.hpp"
#include "record_command.hpp"
#include "replay_command.hpp"
#include "trace_input.hpp"
#include "usage_error.hpp"

namespace {

constexpr int failed = 1;
constexpr int misused = 2;

constexpr const char* usage =
    R"(usage: cistern-trace COMMAND FILE
       cistern-trace record [OPTIONS] [--] PROGRAM [ARGUMENTS...]
       cistern-trace replay [OPTIONS] FILE
       cistern-trace --help | --version

Commands:
  record PROGRAM   runs a program and writes its calls of malloc to a trace (record --help says how)
  print FILE       every call of the trace, one line each, and the stacks that it was made from
  advise FILE      which pool, with which options, suits the trace
  replay FILE      performs the trace on several resources, and compares them (replay --help says how)

FILE is a trace, written by cistern-trace record or by cistern::recording_adaptor; - means standard input.

Exit status of all but record: 0 if all went well; 1 if the trace can't be read to its end, or a resource refused,
misaligned or damaged a block; 2 if the arguments make no sense.
)";

using cistern::tool::in_hexadecimal;
using cistern::tool::usage_error;

int print(cistern::trace_reader& trace) {
  std::cout << "nanoseconds thread call bytes alignment address block\n";
  cistern::tool::stack_printer stacks(trace, std::cout);
  for (cistern::trace_event event; trace.next(event);) {
    stacks.print_if_new(event.stack);
    std::cout << event.time.count() << ' ' << event.thread << ' ' << to_string(event.call) << ' '
              << event.bytes << ' ' << event.alignment << ' ';
    if (event.call == cistern::trace_call::failed_allocate) {
      std::cout << "- -";
    } else {
      std::cout << "0x" << in_hexadecimal(event.address) << ' ' << event.block;
      if (event.call == cistern::trace_call::reallocate) std::cout << " from " << event.old_block;
    }
    if (trace.has_stacks()) std::cout << " at " << event.stack;
    std::cout << '\n';
  }
  return 0;
}

int print_advice(cistern::trace_reader& trace) {
  std::cout << cistern::advise(trace);
  return 0;
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.empty()) throw usage_error("no command");
  const std::string& command = arguments[0];
  if (command == "--help" || command == "-h" || command == "help") {
    std::cout << usage;
    return 0;
  }
  if (command == "--version") {
    std::cout << "cistern-trace " CISTERN_VERSION "\n";
    return 0;
  }
  if (command == "record") return cistern::tool::record(std::vector(arguments.begin() + 1, arguments.end()));
  if (command == "replay") return cistern::tool::replay(std::vector(arguments.begin() + 1, arguments.end()));
  if (command != "print" && command != "advise") throw usage_error("no such command: " + command);
  if (arguments.size() < 2) throw usage_error("no file");
  if (arguments[1] == "--help" || arguments[1] == "-h") {
    std::cout << usage;
    return 0;
  }
  if (arguments.size() > 2) throw usage_error("too many arguments: " + arguments.back());

  cistern::trace_reader trace(cistern::tool::source_named(arguments[1]));
  const int status = command == "print" ? print(trace) : print_advice(trace);
  cistern::tool::say_how_it_ended(trace);
  return status;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const int status = run({arguments + (count > 0 ? 1 : 0), arguments + count});
    if (!std::cout.flush()) throw std::runtime_error("cannot write to standard output");
    return status;
  } catch (const usage_error& error) {
    std::cerr << "cistern-trace: " << error.what() << "\nTry 'cistern-trace --help'.\n";
    return misused;
  } catch (const std::exception& error) {
    std::cout.flush();  // What came before the error stands before it.
    std::cerr << "cistern-trace: " << error.what() << '\n';
    return failed;
  }
}
