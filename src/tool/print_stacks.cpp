#include "print_stacks.hpp"

#include <charconv>
#include <iterator>
#include <ostream>

namespace cistern::tool {

std::string printable(std::string_view name) {
  std::string text(name);
  for (char& each : text) {
    if (static_cast<unsigned char>(each) < ' ' || each == '\x7F') each = '?';
  }
  return text;
}

std::string in_hexadecimal(std::uint64_t number) {
  char digits[16];
  return {digits, std::to_chars(std::begin(digits), std::end(digits), number, 16).ptr};
}

void stack_printer::print_if_new(std::uint64_t number) {
  if (number == 0) return;
  if (printed_.size() <= number) printed_.resize(number + 1);
  if (printed_[number]) return;
  printed_[number] = true;
  const trace_stacks& stacks = trace_.stacks();
  out_ << "# stack " << number << '\n';
  for (const trace_place& place : stacks.stack(number)) {
    out_ << "#   0x" << in_hexadecimal(place.address);
    if (place.module != 0) out_ << " in " << printable(stacks.module(place.module).path);
    out_ << '\n';
  }
}

}  // namespace cistern::tool
