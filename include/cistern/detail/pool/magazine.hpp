// magazine: what thread caches and depot trade, and for which classes.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/free_list.hpp>

#include <cstddef>

namespace cistern::detail {

/// A linked list of blocks of one class that moves between caches and depot as a whole.
struct magazine {
  free_block* head = nullptr;
  std::size_t blocks = 0;
};

/// What the calling thread keeps for itself, as the depot sees it.
class flushable {
 public:
  /// Hands every block to the depot.
  virtual void flush() noexcept = 0;
  /// The same on behalf of every trim requested so far.
  virtual void flush_for_trim() noexcept = 0;

 protected:
  ~flushable() = default;
};

/// Classes with more bytes in a block than this are served by the depot directly.
inline constexpr std::size_t largest_cached_block_bytes = std::size_t{64} << 10;
inline constexpr unsigned cached_class_count = computed_class_of(largest_cached_block_bytes - 1) + 1;

}  // namespace cistern::detail
