// list_walk: goes along a list whose blocks have left the processor's cache.
#pragma once

#include <cistern/detail/pool/free_list.hpp>

#include <cstdint>

namespace cistern::detail {

/// Blocks are often freed in order of address, and a list then has them so. While each block lies as far from
/// the one before as that did, one further on is asked for ahead of time; else each step waits for memory.
class list_walk {
 public:
  /// `block->next()`, for one block of a list after the other.
  [[nodiscard]] free_block* after(const free_block* block) noexcept {
    free_block* const next = block->next();
    const std::uintptr_t distance = address_of(next) - address_of(block);
    if (distance == distance_) {
      constexpr std::uintptr_t steps = 8;
      __builtin_prefetch(reinterpret_cast<const void*>(address_of(next) + steps * distance), 1);
    }
    distance_ = distance;
    return next;
  }

 private:
  // As numbers: where it is asked for there may be no block, and no memory.
  [[nodiscard]] static std::uintptr_t address_of(const void* place) noexcept {
    return reinterpret_cast<std::uintptr_t>(place);
  }

  std::uintptr_t distance_ = 0;
};

}  // namespace cistern::detail
