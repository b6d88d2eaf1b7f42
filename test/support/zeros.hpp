// is_zero, is_filled_with: whether memory holds nothing but zeros, or another byte.
#pragma once

#include <cstddef>
#include <cstring>

namespace cistern::test_support {

/// By one call of the C library: a fuzzer counts each comparison that a loop would make, and takes as long.
[[nodiscard]] inline bool is_filled_with(unsigned char byte, const void* memory, std::size_t bytes) noexcept {
  const auto* const first = static_cast<const unsigned char*>(memory);
  return bytes == 0 || (first[0] == byte && std::memcmp(first, first + 1, bytes - 1) == 0);
}

[[nodiscard]] inline bool is_zero(const void* memory, std::size_t bytes) noexcept {
  return is_filled_with(0, memory, bytes);
}

}  // namespace cistern::test_support
