// print_stacks: the stacks of a trace as text.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>

#include <cstdint>
#include <iosfwd>
#include <vector>

#include "printable_text.hpp"

namespace cistern::tool {

class frame_names;

/// Prints the stacks that a trace's events refer to, each once.
class stack_printer {
 public:
  /// All must outlive it. The names are those of the trace's stacks.
  stack_printer(const trace_reader& trace, frame_names& names, std::ostream& out)
      : trace_(trace), names_(names), out_(out) {}

  /// A line with the stack's number, and one for each of its places; each begins with '#'. Nothing for number
  /// 0.
  void print_if_new(std::uint64_t number);

 private:
  const trace_reader& trace_;
  frame_names& names_;
  std::ostream& out_;
  std::vector<bool> printed_;
};

}  // namespace cistern::tool
