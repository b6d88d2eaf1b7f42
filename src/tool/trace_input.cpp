#include "trace_input.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <iostream>
#include <span>
#include <string_view>
#include <system_error>

#include "../base/statistics_text.hpp"
#include "compressed_trace.hpp"
#include <sys/mman.h>

namespace cistern::tool {

trace_source source_named(const std::string& name) {
  return decompressed(name == "-" ? trace_from_stream(std::cin) : trace_from_file(name));
}

std::string called(const std::string& name) {
  return name == "-" ? "standard input" : name;
}

std::string fault_in(const std::string& name, const trace_error& error) {
  constexpr std::string_view of_the_library = "cistern trace: ";
  std::string_view what = error.what();
  if (what.starts_with(of_the_library)) what.remove_prefix(of_the_library.size());
  return called(name) + ": " + std::string(what);
}

std::string rereadable(const std::string& name) {
  if (name != "-") return name;
  const int memory = ::memfd_create("trace", 0);  // Children have it too.
  if (memory < 0) throw std::system_error(errno, std::generic_category(), "memfd_create");
  std::string path = "/proc/self/fd/" + std::to_string(memory);
  const trace_source from = source_named(name);
  const trace_sink to = trace_to_file(path);
  std::array<std::byte, 65536> part{};
  while (const std::size_t got = from(part)) to(std::span(part).first(got));
  return path;
}

bool next_up_to_cut(trace_reader& trace, trace_event& event) {
  try {
    if (trace.next(event)) return true;
    say_how_it_ended(trace);
  } catch (const trace_error& error) {
    if (error.fault() != trace_fault::truncated) throw;
    std::cerr << "cistern-trace: the trace was cut off; this is what there is of it (" << error.what()
              << ")\n";
  }
  if (trace.sample_bytes() != 0) {
    std::cerr << "cistern-trace: the trace has one call of every "
              << detail::with_thousands(trace.sample_bytes())
              << " bytes allocated; the figures are of these calls alone\n";
  }
  return false;
}

void say_how_it_ended(const trace_reader& trace) {
  if (trace.ending() == trace_ending::closed) return;
  std::cout.flush();
  if (trace.ending() == trace_ending::size_limit) {
    std::cerr << "cistern-trace: the trace had grown to the size that it was allowed; what came later isn't "
                 "in it\n";
  } else {
    std::cerr << "cistern-trace: the trace could not be written any further: "
              << std::generic_category().message(trace.ending_error()) << '\n';
  }
}

}  // namespace cistern::tool
