// is_zero: whether memory holds nothing but zeros.
#pragma once

#include <cstddef>
#include <cstring>

namespace cistern::test_support {

[[nodiscard]] inline bool is_zero(const void* memory, std::size_t bytes) noexcept {
  const auto* const first = static_cast<const unsigned char*>(memory);
  return bytes == 0 || (first[0] == 0 && std::memcmp(first, first + 1, bytes - 1) == 0);
}

}  // namespace cistern::test_support
