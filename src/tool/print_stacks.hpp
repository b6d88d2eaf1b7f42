// print_stacks: the stacks of a trace as text.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace cistern::tool {

/// Its digits alone.
[[nodiscard]] std::string in_hexadecimal(std::uint64_t number);

/// A name, which may be anything, so that it moves no cursor.
[[nodiscard]] std::string printable(std::string_view name);

/// Prints the stacks that a trace's events refer to, each once.
class stack_printer {
 public:
  /// Both must outlive it.
  stack_printer(const trace_reader& trace, std::ostream& out) : trace_(trace), out_(out) {}

  /// A line with the stack's number, and one for each of its places; each begins with '#'. Nothing for number
  /// 0.
  void print_if_new(std::uint64_t number);

 private:
  const trace_reader& trace_;
  std::ostream& out_;
  std::vector<bool> printed_;
};

}  // namespace cistern::tool
