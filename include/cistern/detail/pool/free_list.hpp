// free_block: how free blocks are linked, through their own first bytes.
#pragma once

#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/process_secret.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

#if CISTERN_ASAN
// Free blocks are poisoned whole, links included; only these functions may look inside.
#define CISTERN_READS_FREE_BLOCKS __attribute__((no_sanitize_address, noinline))
#else
#define CISTERN_READS_FREE_BLOCKS
#endif

namespace cistern::detail {

/// Ends with the misuse that a free block whose link was at `place` was written to.
[[noreturn, gnu::cold]] void overwritten_free_block(const void* place) noexcept;
/// Ends with the misuse that a free block was freed again.
[[noreturn, gnu::cold]] void freed_before(const void* block) noexcept;

/// Whether what stands in a free block is looked at before it is believed.
inline constexpr bool seals_free_blocks = checked_build || hardened_build;

/// To be called by every pool, as there may be one before the first constructor runs.
inline void know_seals() noexcept {
  if constexpr (seals_free_blocks) {
    learn_process_secret();
  }
}

class free_block;

/// A link between free blocks. In a checked or hardened build it is sealed: mixed with its own place and with
/// the process's secret, so that anything else reads as an address that no block has. What a user writes to a
/// block that he has given back, or beyond the end of the one before it, is found when the link is next
/// followed.
class free_link {
 public:
  [[nodiscard]] CISTERN_READS_FREE_BLOCKS free_block* get() const noexcept {
    if constexpr (seals_free_blocks) {
      const std::uint64_t link = (number_of(stored_) - seal()) * unmixing_factor;
      if (link >> address_bits != 0) [[unlikely]] {
        overwritten_free_block(this);
      }
      return reinterpret_cast<free_block*>(link);
    } else {
      return stored_;
    }
  }
  CISTERN_READS_FREE_BLOCKS void set(free_block* link) noexcept {
    stored_ =
        seals_free_blocks ? reinterpret_cast<free_block*>(number_of(link) * mixing_factor + seal()) : link;
  }

  /// Whether this holds no link, but the mark of a free block that none was needed for.
  [[nodiscard]] CISTERN_READS_FREE_BLOCKS bool is_mark() const noexcept {
    return number_of(stored_) == seal();
  }
  CISTERN_READS_FREE_BLOCKS void set_mark() noexcept { stored_ = reinterpret_cast<free_block*>(seal()); }
  CISTERN_READS_FREE_BLOCKS void clear() noexcept { stored_ = nullptr; }

 private:
  static constexpr unsigned address_bits = 48;
  static constexpr std::uint64_t mixing_factor = 0x9e3779b97f4a7c15U;
  static constexpr std::uint64_t unmixing_factor = 0xf1de83e19937733dU;
  static_assert(mixing_factor * unmixing_factor == 1);

  [[nodiscard]] static std::uint64_t number_of(const void* address) noexcept {
    return reinterpret_cast<std::uint64_t>(address);
  }
  // Relaxed: it was written before there was a pool.
  [[nodiscard]] std::uint64_t seal() const noexcept {
    return number_of(this) ^ process_secret.load(std::memory_order_relaxed);
  }

  free_block* stored_;
};

/// A free block. `next` links the blocks of one list; `next_list` links lists and is used in the first block
/// of a list only (the smallest block has room for both). In a hardened build the second word of the others
/// has a mark, which tells that the block is free; of a block in use it is cleared.
class free_block {
 public:
  [[nodiscard]] free_block* next() const noexcept { return next_.get(); }
  void next(free_block* block) noexcept { next_.set(block); }
  [[nodiscard]] free_block* next_list() const noexcept { return next_list_.get(); }
  void next_list(free_block* block) noexcept { next_list_.set(block); }

  /// Turns memory of `bytes` (at least `smallest_block_bytes`) into a free block that links to `next`. Ends
  /// with a misuse, in a hardened build, where it is one by its mark.
  static free_block* make(void* memory, [[maybe_unused]] std::size_t bytes, free_block* next) noexcept {
    // No constructor runs: the block is written by the accessor, which may do so while it is poisoned.
    auto* block = static_cast<free_block*>(memory);
    if constexpr (hardened_build) {
      expect_in_use(block);
      block->next_list_.set_mark();
    }
    asan_poison(memory, bytes);
    block->next(next);
    return block;
  }

  /// Ends with a misuse, in a hardened build, where what comes back is a free block by its mark: to be called
  /// before the mark is overwritten.
  static void expect_in_use(const void* memory) noexcept {
    if (hardened_build && is_marked(memory)) [[unlikely]] {
      freed_before(memory);
    }
  }
  /// Whether it is a free block by its mark, which hardened builds write.
  [[nodiscard]] static bool is_marked(const void* memory) noexcept {
    return static_cast<const free_block*>(memory)->next_list_.is_mark();
  }

  /// The block is a user's from now on.
  [[nodiscard]] void* handed_out() noexcept {
    if constexpr (hardened_build) {
      next_list_.clear();
    }
    return this;
  }

 private:
  free_link next_;
  free_link next_list_;
};

}  // namespace cistern::detail
