// boundary: how far it is to the next multiple of an alignment.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// From `address` to the next multiple of `alignment`, a power of two, in bytes; 0 where it is one.
[[nodiscard]] inline std::size_t bytes_to_boundary(const void* address, std::size_t alignment) noexcept {
  return (~reinterpret_cast<std::uintptr_t>(address) + 1) & (alignment - 1);
}

}  // namespace cistern::detail
