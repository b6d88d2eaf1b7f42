// possible_size: refuses requests for more bytes than any object can have.
#pragma once

#include <cistern/bad_allocation.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Throws `bad_allocation` where `bytes` is above `PTRDIFF_MAX`. To be asked before what upstream might be
/// given: the aligned `operator new` of libstdc++ rounds such sizes up past zero, and returns a small block.
inline void expect_possible_size(std::size_t bytes, std::size_t held_bytes = 0) {
  if (bytes > PTRDIFF_MAX) [[unlikely]] {
    throw bad_allocation("request is larger than any object can be", bytes, PTRDIFF_MAX, held_bytes);
  }
}

}  // namespace cistern::detail
