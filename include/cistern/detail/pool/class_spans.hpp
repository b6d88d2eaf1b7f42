// class_spans: the spans of one size class, and which of their blocks are out.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/magazine.hpp>
#include <cistern/detail/pool/span.hpp>
#include <cistern/pool_options.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// What `pool_options::max_blocks_per_chunk` is where nobody asked for less.
inline constexpr std::size_t most_blocks_per_chunk = 65536;
/// Blocks up to this share spans; a larger one has a span to itself.
inline constexpr std::size_t largest_cut_block_bytes = std::size_t{32} << 10;
inline constexpr unsigned cut_class_count = computed_class_of(largest_cut_block_bytes - 1) + 1;
/// Of classes whose blocks are runs, up to this, some of the free ones may be kept for the next requests.
inline constexpr std::size_t largest_kept_block_bytes = std::size_t{1} << 20;
inline constexpr unsigned kept_class_count = computed_class_of(largest_kept_block_bytes - 1) + 1;

/// A class with so much memory gives it up whole when no block of it is in use, and begins anew in order of
/// address. Less of small blocks lies in the processor's cache. A block that has pages of its own gains
/// nothing by the order, and is soon asked for again: so of such a class it must be much beside what may be
/// idle. Pieces of less blocks than usual go back to upstream one by one when they are left: none is.
[[nodiscard]] inline std::size_t least_leaving_bytes(unsigned index, const pool_options& options) noexcept {
  constexpr std::size_t least_bytes = std::size_t{256} << 10;
  constexpr std::size_t much = 4;
  if (options.max_blocks_per_chunk < most_blocks_per_chunk) {
    return SIZE_MAX;
  }
  return class_block_bytes(index) < page_bytes ? least_bytes
                                               : std::max(least_bytes, options.max_idle_bytes / much);
}

/// The fewest pages that blocks of a class fill but for an eighth.
[[nodiscard]] constexpr std::uint32_t fitting_pages(std::size_t block_bytes) noexcept {
  std::size_t bytes = (block_bytes + page_bytes - 1) & ~(page_bytes - 1);
  while (bytes % block_bytes > bytes / 8) {
    bytes += page_bytes;
  }
  return static_cast<std::uint32_t>(bytes / page_bytes);
}

/// Where no page can be had any more: what a span alone should have, if not less.
[[nodiscard]] constexpr std::size_t few_blocks(std::size_t block_bytes) noexcept {
  return block_bytes < page_bytes / 2 ? page_bytes / 2 / block_bytes : 1;
}

/// What the next span of a class should have.
struct span_wish {
  std::uint32_t pages;
  std::uint32_t small_blocks;  ///< While the heap is small; or 0: pages all the same.
};

/// Knows nothing of where runs come from. Not thread-safe. A block that is out is in use, or free in a list
/// of whoever took it.
///
/// Invariant: every span of this class is in `open_` while it has a block left, else in `full_`.
class class_spans {
 public:
  [[nodiscard]] bool has_block() const noexcept { return !open_.empty(); }
  /// Up to `most` blocks of one span, in order of address where they are new. There must be one. O(most).
  [[nodiscard]] magazine take(std::size_t block_bytes, std::size_t most) noexcept;
  /// Puts a block back. True: `home` is one of this class no more, as none of its blocks is out. O(1).
  [[nodiscard]] bool put(free_block* block, span* home) noexcept;

  // The same where a memory checker looks on: free blocks may not be touched, links included.

  /// One block, whose link may be touched.
  [[nodiscard]] magazine take_watched(std::size_t block_bytes) noexcept;
  /// `put` of a block that may be touched, and may not afterwards.
  [[nodiscard]] bool put_watched(void* block, std::size_t block_bytes, span* home) noexcept;
  /// Takes the memory of pages away in which no block is out, where it is pages of the system: of up to
  /// `most_spans` spans that have a block left, and adds the bytes. True: that was the last one, if nobody
  /// took or put blocks meanwhile; else the next call goes on. `first` is null at the beginning. O(blocks of
  /// the spans), but O(1) for one that no block has come back to since.
  bool discard(std::size_t block_bytes, std::size_t most_spans, const span*& first,
               std::size_t& bytes) noexcept;

  /// Whether `block` is the beginning of a block of `home` that is out. O(blocks).
  [[nodiscard]] static bool is_out(const void* block, std::size_t block_bytes, const span& home) noexcept;
  /// Whether no block that begins in the page of `block` is out, or in a list of `home`. O(1). A span of more
  /// pages than a `page_set` has bits has no such page.
  [[nodiscard]] static bool is_unlinked(const void* block, const span& home) noexcept {
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(block) - home.base());
    return home.unlinked != 0 && (home.unlinked >> offset / page_bytes & 1U) != 0;
  }

  /// The fewest pages that a span of a class may have.
  [[nodiscard]] static std::uint32_t least_span_pages(unsigned index) noexcept;
  /// How many pages the next span should have: the more blocks are out, the more. O(1).
  [[nodiscard]] std::uint32_t next_span_pages(unsigned index) const noexcept;
  /// How many blocks it should have while the heap is small: less than a page of them; or 0, where it should
  /// have pages all the same. O(1).
  [[nodiscard]] std::uint32_t next_small_span_blocks(unsigned index) const noexcept;
  /// Both.
  [[nodiscard]] span_wish next_span(unsigned index) const noexcept {
    return {next_span_pages(index), next_small_span_blocks(index)};
  }
  /// A new run is a span of this class, of at most `most_blocks`.
  void add(span* run, unsigned index, std::size_t most_blocks) noexcept;
  /// Moves all spans over to the front of `list`. O(1).
  void leave_to(span_list& list) noexcept;

  /// All memory of these spans.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t out_blocks() const noexcept { return out_; }
  /// Blocks of these spans that were ever out.
  [[nodiscard]] std::size_t carved_blocks() const noexcept { return carved_; }

  /// Aborts with a message when an invariant doesn't hold. O(blocks here).
  void check_invariants(unsigned index) const noexcept;

 private:
  span_list open_;
  span_list full_;
  std::size_t out_ = 0;
  std::size_t carved_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace cistern::detail
