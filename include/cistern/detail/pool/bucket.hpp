// bucket: all blocks of one size: the free list, the chunks they are carved from, and their accounts.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/free_list.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_statistics.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// The record of one chunk, kept behind its last block so that the first block has the chunk's alignment.
/// The last four fields are used during `bucket::trim` only. One cache line.
struct chunk {
  chunk* next;
  chunk* previous;
  std::byte* base;
  std::size_t blocks;
  chunk* left;
  chunk* right;
  free_block* free_head;
  std::size_t free_blocks;
};

/// Sizes and bounds that a bucket needs but that are the same for all of a pool, or follow from its class.
struct bucket_shape {
  unsigned index;                    ///< Size class.
  std::size_t block_bytes;           ///< `class_block_bytes(index)`.
  std::size_t max_blocks_per_chunk;  ///< From `pool_options`.
};

/// Blocks above this come singly from upstream: a chunk of their own each.
inline constexpr std::size_t largest_chunked_block_bytes = std::size_t{32} << 10;
inline constexpr std::size_t smallest_chunk_bytes = page_bytes;
inline constexpr std::size_t largest_chunk_bytes = std::size_t{1} << 20;

/// Buckets with less carved than this aren't rewound.
inline constexpr std::size_t smallest_rewound_bytes = std::size_t{256} << 10;

[[nodiscard]] constexpr bool comes_singly(std::size_t block_bytes) noexcept {
  return block_bytes > largest_chunked_block_bytes;
}

/// The size of the chunk of a block that comes singly.
[[nodiscard]] std::size_t single_chunk_bytes(const bucket_shape& shape) noexcept;

/// Whether the blocks freed last lie near each other, judged by the first few of `list`. Blocks freed at
/// random rarely make up whole chunks, and cost a cache miss each to walk over. O(1).
[[nodiscard]] bool are_in_order(const free_block* list) noexcept;

/// Not thread-safe; `depot` puts a lock beside it, `bucket_set` needs none.
///
/// Invariants (see `check_invariants`):
///     depth()          == length of the list at `head` (plus what a depot holds in magazines)
///     carved_blocks    == blocks of all chunks - blocks not yet carved
///     live blocks      == carved_blocks - depth() - blocks in thread caches
///     held_bytes()     == sum of the chunks' sizes, records included
///     limit            <= granted: see `set_limit`
///
/// The number of free blocks is kept as two counters that only go up, one written by allocations and one by
/// frees. A single counter that both write costs a pair of them a second store-to-load delay; two counters
/// cost nothing that can be measured, and they are the hits and returns of the statistics.
struct alignas(64) bucket {
  // What the fast paths touch: half a cache line.
  free_block* head = nullptr;
  std::uint64_t popped = 0;  ///< Blocks that ever left the list.
  std::uint64_t pushed = 0;  ///< Blocks that ever came onto the list.
  std::size_t limit = 0;     ///< A free that finds `depth() >= limit` takes the slow path.
  // What carving touches: the other half.
  std::byte* bump = nullptr;  ///< First byte not yet carved.
  std::byte* bump_end = nullptr;
  std::size_t carved_blocks = 0;
  std::uint64_t misses = 0;  ///< Allocations that carved or fetched.

  chunk* chunks = nullptr;
  chunk* fresh = nullptr;         ///< From here on, along `previous`, no block of any chunk is carved.
  std::size_t fresh_bytes = 0;    ///< Blocks of the fresh chunks.
  std::size_t granted = 0;        ///< Blocks the idle budget allows to be kept here.
  std::int64_t moved_blocks = 0;  ///< Blocks listed by carving, not by a free, less those delisted by no hit.
  std::uint64_t discarded = 0;    ///< Frees passed on to upstream at once.
  std::uint64_t pushed_at_walk = no_walk;  ///< `pushed` when `trim` last found that no chunk could go.
  static constexpr std::uint64_t no_walk = UINT64_MAX;
  std::uint32_t chunk_count = 0;
  std::uint32_t depth_after_trim = 0;  ///< `depth()` when `trim` last ended: what the next one must be worth.

  [[nodiscard]] std::size_t uncarved_bytes() const noexcept {
    return static_cast<std::size_t>(bump_end - bump) + fresh_bytes;
  }

  /// Free blocks.
  [[nodiscard]] std::size_t depth() const noexcept { return pushed - popped; }

  /// Free memory: what lies on the list, and what was never carved.
  [[nodiscard]] std::size_t idle_bytes(std::size_t block_bytes) const noexcept {
    return depth() * block_bytes + uncarved_bytes();
  }

  /// All memory of the bucket's chunks, their records included.
  [[nodiscard]] std::size_t held_bytes(std::size_t block_bytes) const noexcept {
    return carved_blocks * block_bytes + uncarved_bytes() + chunk_count * sizeof(chunk);
  }

  /// Allocations served from the list, where no depot moves blocks as well.
  [[nodiscard]] std::uint64_t hits() const noexcept {
    return popped - static_cast<std::uint64_t>(-moved_blocks);
  }

  /// Sets `limit` from the grant, after a change of `granted` or `carved_blocks`. In large buckets it also
  /// stops the free of the last live block, for `rewind`. `every_free_is_slow`: stop all of them.
  void set_limit(std::size_t block_bytes, bool every_free_is_slow) noexcept {
    const bool stop_last = is_large(block_bytes) && carved_blocks <= granted;
    limit = every_free_is_slow ? 0 : stop_last ? carved_blocks - 1 : granted;
  }

  [[nodiscard]] bool is_worth_rewinding(std::size_t block_bytes) const noexcept {
    return depth() == carved_blocks && is_large(block_bytes);
  }

  /// Whether a chunk may have become free since `trim` last looked at all of them in vain: only a free can do
  /// that.
  [[nodiscard]] bool may_have_free_chunks() const noexcept {
    return chunks != nullptr && (pushed != pushed_at_walk || fresh != nullptr || depth() == carved_blocks);
  }

  /// Makes a bucket without a live block like one whose chunks have just come from upstream, so that they are
  /// carved in address order again: the list has them in the order they were freed in, which after a random
  /// tear-down costs a cache miss for each. Oldest chunk first, as the newest may have pages that were never
  /// touched. O(chunks).
  void rewind(std::size_t block_bytes) noexcept;

  /// Takes the first block off the list, which must not be empty.
  [[nodiscard]] free_block* pop() noexcept {
    free_block* block = head;
    head = block->next();
    __builtin_prefetch(head);
    ++popped;
    return block;
  }

  void push(void* memory, std::size_t block_bytes) noexcept {
    head = free_block::make(memory, block_bytes, head);
    ++pushed;
  }

  /// Takes the next block never used before, or null when the chunks are used up. O(1).
  [[nodiscard]] void* carve(std::size_t block_bytes) noexcept {
    if (bump == bump_end && !open_fresh_chunk(block_bytes)) {
      return nullptr;
    }
    std::byte* block = bump;
    bump += block_bytes;
    ++carved_blocks;
    return block;
  }

  /// Turns to the next fresh chunk, if there is one. O(1).
  bool open_fresh_chunk(std::size_t block_bytes) noexcept {
    if (fresh == nullptr) {
      return false;
    }
    bump = fresh->base;
    bump_end = bump + fresh->blocks * block_bytes;
    fresh_bytes -= fresh->blocks * block_bytes;
    fresh = fresh->previous;
    return true;
  }

  /// Gets one more chunk from upstream, to be carved; there must be nothing left to carve. Where upstream
  /// says `std::bad_alloc` it is asked for less, down to one block. Returns false where the account's limit
  /// refuses even that. Passes on what upstream throws in the end. O(1) but for upstream.
  [[nodiscard]] bool add_chunk(const bucket_shape& shape, upstream_account& account);

  /// Gives a block that came singly, and is on no list, back to upstream. O(1).
  void discard(void* block, const bucket_shape& shape, upstream_account& account) noexcept;

  /// The first half of a move to another bucket: a block that came singly, and is on no list, leaves this one
  /// with its chunk, whose size is returned. O(1).
  std::size_t detach(void* block, const bucket_shape& shape) noexcept;

  /// The second half: memory of `single_chunk_bytes(shape)` is a live block of this bucket from now on. O(1).
  void attach(void* block, const bucket_shape& shape, upstream_account& account) noexcept;

  /// Gives chunks without a live block back to upstream while `surplus_bytes` is above zero; each lowers it
  /// by its idle bytes (all but the record). Puts the rest of the list into address order. Only blocks on the
  /// list count as free. Needs no memory. Returns the bytes given back. O(depth() * log(chunks)), O(chunks)
  /// where every block is free and may go, and O(1) where nothing was freed since all was looked at in vain.
  std::size_t trim(const bucket_shape& shape, upstream_account& account, std::size_t& surplus_bytes) noexcept;

  /// Gives every chunk back to upstream, live blocks or not; afterwards the bucket is empty, its counters
  /// kept. O(chunks).
  void release(const bucket_shape& shape, upstream_account& account) noexcept;

  /// Whether `block` lies in one of the chunks. O(chunks).
  [[nodiscard]] bool holds(const void* block, std::size_t block_bytes) const noexcept;

  /// Lowers the grant to what is free now. What it was given for may have gone: a grant beyond the budget
  /// stands for live blocks that hold chunks, and must not let others stay idle in their place.
  void limit_grant() noexcept;

  /// Adds this bucket to a pool's statistics: a row if it was ever used, and its bytes.
  /// `cached_blocks`: free blocks in thread caches; `hits`: allocations served from a free list.
  void add_to(pool_statistics& statistics, const bucket_shape& shape, bool count_operations,
              std::size_t cached_blocks, std::uint64_t hits) const;

  /// Whether the order of the blocks may matter. It doesn't while they all lie in the cache, nor between
  /// blocks that are large themselves.
  [[nodiscard]] bool is_large(std::size_t block_bytes) const noexcept {
    return carved_blocks * block_bytes >= smallest_rewound_bytes && !comes_singly(block_bytes);
  }

  /// Aborts with a message when an invariant doesn't hold. `free_elsewhere`: blocks counted in `depth()` that
  /// are not on the list. O(depth() * chunks): for tests.
  void check_invariants(const bucket_shape& shape, std::size_t free_elsewhere) const noexcept;
};
static_assert(sizeof(bucket) == 128, "a power of two: finding a bucket costs an instruction more otherwise");

}  // namespace cistern::detail
