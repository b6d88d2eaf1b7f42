#include "print_stacks.hpp"

#include <ostream>

#include "frame_names.hpp"

namespace cistern::tool {

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
    if (const frame_name& name = names_.of(place); name.is_known) out_ << ": " << name.function;
    out_ << '\n';
  }
}

}  // namespace cistern::tool
