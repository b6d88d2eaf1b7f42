// printable_text: what stands in a trace, for people to read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cistern::tool {

/// Its digits alone.
[[nodiscard]] std::string in_hexadecimal(std::uint64_t number);

/// A name, which may be anything, as valid UTF-8 without control characters: what is neither becomes U+FFFD.
[[nodiscard]] std::string printable(std::string_view name);

}  // namespace cistern::tool
