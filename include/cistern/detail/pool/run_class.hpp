// run_class: a class whose blocks are runs of pages: its traffic, and the free blocks at hand.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/free_list.hpp>
#include <cistern/detail/pool/listed_blocks.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// How many free blocks of such a class stay at hand: a program that takes some and gives them all back,
/// again and again, should not visit the heap for each. One of each size must be little beside what may be
/// idle, and so must all of one size.
[[nodiscard]] inline std::size_t most_kept_runs(const pool_options& options, unsigned index) noexcept {
  constexpr std::size_t few = 64;
  constexpr std::size_t some = 16;
  const std::size_t block_bytes = class_block_bytes(index);
  if (index >= kept_class_count || block_bytes > options.max_idle_bytes / few) {
    return 0;
  }
  return std::min(options.max_idle_bytes / some / block_bytes, options.max_idle_blocks_per_bucket);
}

/// Counted in blocks, since the pool was made.
struct run_class {
  free_block* kept = nullptr;  ///< Free blocks at hand: they spare a visit to the heap.
  std::uint32_t kept_count = 0;
  std::uint32_t in_use_count = 0;
  std::uint64_t hits = 0;      ///< Allocations of memory that was in use before.
  std::uint64_t misses = 0;    ///< Those of memory that nobody has had yet.
  std::uint64_t returned = 0;  ///< Frees.

  [[nodiscard]] std::size_t in_use() const noexcept { return in_use_count; }
  [[nodiscard]] std::size_t kept_blocks() const noexcept { return kept_count; }
  /// A block is in use, which nobody had before where it `is_new`.
  void count_taken(bool is_new) noexcept {
    ++(is_new ? misses : hits);
    ++in_use_count;
  }
  /// One isn't any more.
  void count_returned() noexcept {
    ++returned;
    --in_use_count;
  }

  // `listed` is told what is at hand of the class, `index`.

  /// A block at hand, which isn't any more; or null.
  [[nodiscard]] free_block* take_kept(listed_blocks& listed, unsigned index) noexcept {
    free_block* const taken = kept;
    if (taken != nullptr) {
      kept = taken->next();
      --kept_count;
      note(listed, index);
    }
    return taken;
  }
  /// The same where it is the next block in use.
  [[nodiscard]] void* try_take(listed_blocks& listed, unsigned index) noexcept {
    if (kept == nullptr) {
      return nullptr;
    }
    count_taken(false);
    return take_kept(listed, index)->handed_out();
  }
  /// A block comes back. False: it goes on to the heap, as `most_kept` are at hand.
  [[nodiscard]] bool try_keep(void* block, std::size_t most_kept, listed_blocks& listed,
                              unsigned index) noexcept {
    count_returned();
    if (kept_count >= most_kept) {
      return false;
    }
    kept = free_block::make(block, class_block_bytes(index), kept);
    ++kept_count;
    note(listed, index);
    return true;
  }
  /// What is in use was taken away, and what is at hand too.
  void release(listed_blocks& listed, unsigned index) noexcept {
    in_use_count = 0;
    kept = nullptr;
    kept_count = 0;
    note(listed, index);
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
    if (index < kept_class_count) {
      listed.use(index);
      listed.note(index, kept_count, true);
    }
  }
};

}  // namespace cistern::detail
