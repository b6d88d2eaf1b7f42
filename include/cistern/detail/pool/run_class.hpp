// run_class: a class whose blocks are runs of pages: its traffic, and the block at hand.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/listed_blocks.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace cistern::detail {

/// Whether the block of such a class that was freed last stays at hand. One of each size must be little
/// beside what may be idle.
[[nodiscard]] inline bool keeps_run(const pool_options& options, unsigned index) noexcept {
  constexpr std::size_t few = 64;
  return index < kept_class_count && class_block_bytes(index) <= options.max_idle_bytes / few &&
         options.max_idle_blocks_per_bucket != 0;
}

/// Counted in blocks, since the pool was made.
struct run_class {
  void* kept = nullptr;        ///< The free block that is at hand: it spares a visit to the heap.
  std::uint64_t hits = 0;      ///< Allocations of memory that was in use before.
  std::uint64_t misses = 0;    ///< Those of memory that nobody has had yet.
  std::uint64_t returned = 0;  ///< Frees.
  std::uint64_t released = 0;  ///< Blocks in use when the pool's `release` came.

  [[nodiscard]] std::size_t in_use() const noexcept { return hits + misses - returned - released; }
  [[nodiscard]] std::size_t kept_blocks() const noexcept { return kept != nullptr ? 1 : 0; }

  // `listed` is told what is at hand of the class, `index`.

  /// The block at hand, which isn't any more; or null.
  [[nodiscard]] void* take_kept(listed_blocks& listed, unsigned index) noexcept {
    void* const taken = std::exchange(kept, nullptr);
    if (taken != nullptr) {
      note(listed, index);
    }
    return taken;
  }
  /// The same where it is the next block in use.
  [[nodiscard]] void* try_take(listed_blocks& listed, unsigned index) noexcept {
    hits += kept_blocks();
    return take_kept(listed, index);
  }
  /// A block comes back. Returns the one that goes on to the heap: where `is_kept`, the one that was at hand;
  /// or null.
  [[nodiscard]] void* put(void* block, bool is_kept, listed_blocks& listed, unsigned index) noexcept {
    ++returned;
    if (!is_kept) {
      return block;
    }
    std::swap(kept, block);
    note(listed, index);
    return block;
  }
  /// What is in use was taken away, and what is at hand too.
  void release(listed_blocks& listed, unsigned index) noexcept {
    released += in_use();
    (void)take_kept(listed, index);
  }

  /// The row for the statistics, but for the size of a block.
  [[nodiscard]] bucket_statistics row() const noexcept {
    return {.hits = hits,
            .misses = misses,
            .returned = returned,
            .depth = kept_blocks(),
            .live_blocks = in_use()};
  }

 private:
  void note(listed_blocks& listed, unsigned index) const noexcept {
    listed.use(index);
    listed.note(index, kept_blocks(), true);
  }
};

}  // namespace cistern::detail
