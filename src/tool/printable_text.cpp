#include "printable_text.hpp"

#include <charconv>
#include <iterator>

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

}  // namespace cistern::tool
