#include "printable_text.hpp"

#include <cistern/detail/base/utf8.hpp>

#include <array>
#include <charconv>
#include <iterator>

namespace cistern::tool {

std::string printable(std::string_view name) {
  std::string text;
  while (!name.empty()) {
    const detail::decoded_utf8 decoded = detail::decode_utf8(name);
    const bool is_control =
        decoded.character < U' ' || (decoded.character >= U'\x7F' && decoded.character < U'\xA0');
    std::array<char, 4> form{};
    text.append(
        form.data(),
        detail::encode_utf8(is_control ? detail::replacement_character : decoded.character, form.data()));
    name.remove_prefix(decoded.bytes);
  }
  return text;
}

std::string in_hexadecimal(std::uint64_t number) {
  char digits[16];
  return {digits, std::to_chars(std::begin(digits), std::end(digits), number, 16).ptr};
}

}  // namespace cistern::tool
