// good_size: the block size that a request is rounded up to, so that containers can ask for whole blocks.
#pragma once

#include <bit>
#include <cstddef>

namespace cistern::detail {

/// The size of the pool block that serves a request of `bytes`: steps of 8 up to 64 (smallest block 16), then
/// four sizes per doubling. Asking any resource for this size wastes nothing of a pool's block.
/// Precondition: `bytes` is at most 2^63.
[[nodiscard]] constexpr std::size_t good_size(std::size_t bytes) noexcept {
  if (bytes <= 16) {
    return 16;
  }
  const std::size_t step = bytes <= 64 ? 8 : std::size_t{1} << (std::bit_width(bytes - 1) - 3);
  return (bytes + step - 1) & ~(step - 1);
}

}  // namespace cistern::detail
