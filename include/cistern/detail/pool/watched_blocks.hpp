// watched_blocks: what comes back to a pool while a memory checker looks on.
#pragma once

#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/span.hpp>

#include <cstddef>

namespace cistern::detail {

/// The run of a block that is given back as one of class `index`; null, and reported, where it is none in
/// use. `is_out(home)`: see `class_spans`. It decides about a block whose user may have forbidden it himself.
template <class Supply, class IsOut>
[[nodiscard]] span* find_watched(Supply& supply, unsigned index, const void* block, IsOut is_out) noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  const bool is_doubtful = is_forbidden(block);
  span* const home = is_doubtful ? supply.find(block) : supply.span_at(block);
  if (home == nullptr || home->is_free || (is_doubtful && home->use == span_use::blocks && !is_out(*home))) {
    report_misuse("a block is given back that is not in use", block, block_bytes);
    return nullptr;
  }
  if (home->index != index) {
    report_misuse("a block is given back with another size", block, block_bytes);
    return nullptr;
  }
  return home;
}

/// A block of class `index` is `bytes` of its user's from now on.
inline void hand_out_watched(void* block, unsigned index, std::size_t bytes) noexcept {
  forbid_access(block, class_block_bytes(index));
  allow_access(block, bytes);
}

}  // namespace cistern::detail
