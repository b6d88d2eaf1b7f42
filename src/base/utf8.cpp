#include <cistern/detail/base/utf8.hpp>

#include <array>

namespace cistern::detail {
namespace {

constexpr bool is_character(char32_t value) noexcept {
  return value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF);
}

constexpr char byte_of(char32_t bits) noexcept {
  return static_cast<char>(static_cast<unsigned char>(bits));
}

constexpr char continuation(char32_t character, int shift) noexcept {
  return byte_of(0x80 | ((character >> shift) & 0x3F));
}

/// Length of the sequence that `lead` announces, 0 if it can't start one.
constexpr std::size_t announced_length(unsigned char lead) noexcept {
  if (lead < 0x80) {
    return 1;
  }
  if (lead < 0xC2) {
    return 0;  // a continuation byte, or the start of an overlong pair
  }
  if (lead < 0xE0) {
    return 2;
  }
  return lead < 0xF0 ? 3 : (lead < 0xF5 ? 4 : 0);
}

}  // namespace

std::size_t encode_utf8(char32_t character, char* out) noexcept {
  if (!is_character(character)) {
    character = replacement_character;
  }
  if (character < 0x80) {
    out[0] = byte_of(character);
    return 1;
  }
  if (character < 0x800) {
    out[0] = byte_of(0xC0 | (character >> 6));
    out[1] = continuation(character, 0);
    return 2;
  }
  if (character < 0x10000) {
    out[0] = byte_of(0xE0 | (character >> 12));
    out[1] = continuation(character, 6);
    out[2] = continuation(character, 0);
    return 3;
  }
  out[0] = byte_of(0xF0 | (character >> 18));
  out[1] = continuation(character, 12);
  out[2] = continuation(character, 6);
  out[3] = continuation(character, 0);
  return 4;
}

decoded_utf8 decode_utf8(std::string_view text) noexcept {
  constexpr decoded_utf8 bad{replacement_character, 1};
  constexpr std::array<char32_t, 5> lead_mask{0, 0x7F, 0x1F, 0x0F, 0x07};
  constexpr std::array<char32_t, 5> smallest{0, 0, 0x80, 0x800, 0x10000};

  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t length = announced_length(lead);
  if (length == 0 || length > text.size()) {
    return bad;
  }
  char32_t character = lead & lead_mask[length];
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xC0) != 0x80) {
      return bad;
    }
    character = character << 6 | (next & 0x3FU);
  }
  if (character < smallest[length] || !is_character(character)) {
    return bad;
  }
  return {character, length};
}

}  // namespace cistern::detail
