// UTF-8 encoding and decoding of one character.
#pragma once

#include <cstddef>
#include <string_view>

namespace cistern::detail {

/// U+FFFD, which stands for whatever is no character.
inline constexpr char32_t replacement_character = U'\uFFFD';

/// Writes the UTF-8 form of `character` to `out` (room for four bytes) and returns its length in bytes.
/// Surrogates and values above U+10FFFF become U+FFFD.
std::size_t encode_utf8(char32_t character, char* out) noexcept;

struct decoded_utf8 {
  char32_t character;
  std::size_t bytes;  ///< How many bytes it took: 1 when they are no valid UTF-8.
};

/// Decodes the first character of `text`, which must not be empty. Overlong forms, surrogates, values above
/// U+10FFFF and cut sequences are U+FFFD of one byte.
decoded_utf8 decode_utf8(std::string_view text) noexcept;

}  // namespace cistern::detail
