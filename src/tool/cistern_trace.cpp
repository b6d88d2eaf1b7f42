// cistern-trace: prints a recorded trace, replays it on a resource, and says which pool would suit it.
#include <cistern/adaptor/trace_advice.hpp>
#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/adaptor/trace_replay.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <charconv>
#include <cstdint>
#include <exception>
#include <iostream>
#include <iterator>
#include <memory>
#include <memory_resource>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "record_command.hpp"
#include "usage_error.hpp"

namespace {

constexpr int failed = 1;
constexpr int misused = 2;

constexpr const char* usage =
    R"(usage: cistern-trace COMMAND FILE [RESOURCE]
       cistern-trace record [OPTIONS] [--] PROGRAM [ARGUMENTS...]

Commands:
  record PROGRAM           runs a program and writes its calls of malloc to a trace (record --help says how)
  print FILE               every call of the trace, one line each
  advise FILE              which pool, with which options, suits the trace
  replay FILE [RESOURCE]   performs the trace on a resource, and reports how it did

FILE is a trace, written by cistern-trace record or by cistern::recording_adaptor; - means standard input.

RESOURCE is one of
  new-delete (the default), unsynchronized, synchronized, std-unsynchronized, std-synchronized

Exit status of all but record: 0 if all went well; 1 if the trace can't be read to its end, or the resource refused, misaligned or
damaged a block; 2 if the arguments make no sense.
)";

using cistern::tool::usage_error;

using resource_owner = std::shared_ptr<std::pmr::memory_resource>;

[[nodiscard]] resource_owner resource_named(std::string_view name) {
  if (name == "new-delete") return {std::pmr::new_delete_resource(), [](std::pmr::memory_resource*) {}};
  if (name == "unsynchronized") return std::make_shared<cistern::unsynchronized_pool_resource>();
  if (name == "synchronized") return std::make_shared<cistern::synchronized_pool_resource>();
  if (name == "std-unsynchronized") return std::make_shared<std::pmr::unsynchronized_pool_resource>();
  if (name == "std-synchronized") return std::make_shared<std::pmr::synchronized_pool_resource>();
  throw usage_error("no such resource: " + std::string(name));
}

[[nodiscard]] cistern::trace_source source_named(const std::string& name) {
  return name == "-" ? cistern::trace_from_stream(std::cin) : cistern::trace_from_file(name);
}

[[nodiscard]] std::string in_hexadecimal(std::uint64_t number) {
  char digits[16];
  return {digits, std::to_chars(std::begin(digits), std::end(digits), number, 16).ptr};
}

/// A trace may end before the program did.
void say_how_it_ended(const cistern::trace_reader& trace) {
  if (trace.ending() == cistern::trace_ending::closed) return;
  std::cout.flush();
  if (trace.ending() == cistern::trace_ending::size_limit) {
    std::cerr << "cistern-trace: the trace had grown to the size that it was allowed; what came later isn't "
                 "in it\n";
  } else {
    std::cerr << "cistern-trace: the trace could not be written any further: "
              << std::generic_category().message(trace.ending_error()) << '\n';
  }
}

int print(cistern::trace_reader& trace) {
  std::cout << "nanoseconds thread call bytes alignment address block\n";
  for (cistern::trace_event event; trace.next(event);) {
    std::cout << event.time.count() << ' ' << event.thread << ' ' << to_string(event.call) << ' '
              << event.bytes << ' ' << event.alignment << ' ';
    if (event.call == cistern::trace_call::failed_allocate) {
      std::cout << "- -\n";
    } else {
      std::cout << "0x" << in_hexadecimal(event.address) << ' ' << event.block;
      if (event.call == cistern::trace_call::reallocate) std::cout << " from " << event.old_block;
      std::cout << '\n';
    }
  }
  return 0;
}

int print_advice(cistern::trace_reader& trace) {
  std::cout << cistern::advise(trace);
  return 0;
}

int replay_on(cistern::trace_reader& trace, std::string_view resource_name) {
  const resource_owner resource = resource_named(resource_name);
  const cistern::replay_report report = cistern::replay(trace, resource.get());
  std::cout << report;
  if (report.resource_passed()) return 0;
  std::cerr << "cistern-trace: the resource refused, misaligned or damaged blocks\n";
  return failed;
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.empty()) throw usage_error("no command");
  const std::string& command = arguments[0];
  if (command == "--help" || command == "-h" || command == "help") {
    std::cout << usage;
    return 0;
  }
  if (command == "record") return cistern::tool::record(std::vector(arguments.begin() + 1, arguments.end()));
  const bool is_replay = command == "replay";
  if (!is_replay && command != "print" && command != "advise")
    throw usage_error("no such command: " + command);
  if (arguments.size() < 2) throw usage_error("no file");
  if (arguments.size() > (is_replay ? 3U : 2U)) throw usage_error("too many arguments: " + arguments.back());
  const std::string resource_name = arguments.size() == 3 ? arguments[2] : "new-delete";
  (void)resource_named(resource_name);  // Before a long trace is read.

  cistern::trace_reader trace(source_named(arguments[1]));
  const int status = is_replay            ? replay_on(trace, resource_name)
                     : command == "print" ? print(trace)
                                          : print_advice(trace);
  say_how_it_ended(trace);
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
