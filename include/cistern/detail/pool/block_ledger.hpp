// block_ledger: which of a pool's blocks its users have, written down beside the memory, in checked builds.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/pool/unpooled_blocks.hpp>
#include <cistern/pool_options.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace cistern::detail {

/// A byte, the *mark*, for each 16 bytes of address space: no two blocks begin in the same 16. It says that a
/// block begins there which a user has, and of what class; or that one did. So a free is judged by what was
/// written when the block was handed out, and never by what is in the block or near it.
///
///     address bits  47 ... 34     33 ... 20     19 ... 4     3
///                   root          branch        leaf         in the mark
///
/// The three tables come from the system, in pages that take no memory until they are touched: of leaves 4
/// KiB for each 64 KiB of blocks. Where the system refuses one, the pool is unchecked from then on. Null mode
/// isn't checked: that is upstream's to do.
///
/// Thread-safe, all but `forget` and the destructor. Takes no lock but that of `unpooled_blocks`, for a block
/// of theirs: so a fork finds it whole.
class block_ledger {
 public:
  /// Of the pool `owner`, whose class has this name. The others are the pool's, and must outlive the ledger.
  block_ledger(const char* owner_class, const void* owner, const pool_options& options,
               const unpooled_blocks& unpooled) noexcept;
  block_ledger(const block_ledger&) = delete;
  block_ledger& operator=(const block_ledger&) = delete;
  /// Calls `forget`.
  ~block_ledger() { forget(); }

  /// The block is its user's from now on, who asked for it so. Aborts with a message where somebody has it
  /// already: then what the pool finds its free blocks by was overwritten. Nothing for 0 bytes, which are
  /// asked for again as 1. O(1).
  void hand_out(const void* block, std::size_t bytes, std::size_t alignment) noexcept;

  /// The block comes back. Aborts where that can't be, with a message that says all that is known: no block
  /// in use begins there, size and alignment are those of another class, or what lies beyond the bytes asked
  /// for was written to. O(1).
  /// Under a memory checker that one reports it; from under memcheck this returns, and says false.
  [[nodiscard]] bool take_back(const void* block, std::size_t bytes, std::size_t alignment) noexcept;

  /// Such a block's user may have all of it, also what lies beyond the bytes he asked for.
  void allow_slack(const void* block) noexcept;

  /// No block is anybody's from now on. O(what was touched).
  void forget() noexcept;

 private:
  using mark = std::uint8_t;
  using mark_place = std::atomic<mark>;
  static constexpr unsigned granule_bits = 4;
  static constexpr std::uintptr_t granule_bytes = std::uintptr_t{1} << granule_bits;
  static constexpr unsigned leaf_bits = 16;
  static constexpr unsigned branch_bits = 14;
  static constexpr unsigned root_bits = 14;
  static constexpr unsigned address_bits = root_bits + branch_bits + leaf_bits + granule_bits;

  template <class Entry, unsigned Shift, unsigned Bits>
  struct table {
    table* next;  ///< Of those that were made.
    std::array<std::atomic<Entry>, std::size_t{1} << Bits> entries;

    [[nodiscard]] std::atomic<Entry>& at(std::uintptr_t address) noexcept {
      return entries[(address >> Shift) & ((std::size_t{1} << Bits) - 1)];
    }
  };
  using leaf = table<mark, granule_bits, leaf_bits>;
  using branch = table<leaf*, granule_bits + leaf_bits, branch_bits>;
  using root = table<branch*, granule_bits + leaf_bits + branch_bits, root_bits>;

  template <class Table>
  [[nodiscard]] static Table* try_make(std::atomic<Table*>& entry, std::atomic<Table*>& made) noexcept;
  template <class Table>
  static void unmap(std::atomic<Table*>& made) noexcept;
  [[nodiscard]] mark_place* try_make_mark(std::uintptr_t address) noexcept;
  [[nodiscard]] mark_place* find_mark(std::uintptr_t address) const noexcept;
  [[nodiscard]] mark mark_at(std::uintptr_t address) const noexcept;
  [[nodiscard]] mark mark_for(std::uintptr_t address, std::size_t bytes,
                              std::size_t alignment) const noexcept;
  [[nodiscard]] bool is_off(std::size_t bytes) const noexcept {
    return bytes == 0 || options_.pass_through || is_incomplete_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_guarded(std::uintptr_t address) const noexcept;
  [[nodiscard]] std::uintptr_t enclosing_block(std::uintptr_t address) const noexcept;
  void describe_block(const void* block, unsigned given_word, std::span<char> text) const noexcept;
  void describe_inside(std::uintptr_t address, std::uintptr_t begin, std::span<char> text) const noexcept;
  void report_wrong(const void* block, std::size_t bytes, std::size_t alignment) const noexcept;
  void report(const void* block, std::size_t bytes, std::size_t alignment, const char* what) const noexcept;

  const char* owner_class_;
  const void* owner_;
  const pool_options& options_;
  const unpooled_blocks& unpooled_;
  const bool guards_slack_;                 ///< Nobody else does, and it needn't be zero.
  std::atomic<bool> is_incomplete_{false};  ///< The system refused a table.
  std::atomic<root*> root_{nullptr};
  std::atomic<root*> roots_{nullptr};  ///< All tables of a kind, by `next`.
  std::atomic<branch*> branches_{nullptr};
  std::atomic<leaf*> leaves_{nullptr};
};

/// What a pool has in its place in an unchecked build.
class no_block_ledger {
 public:
  constexpr no_block_ledger(const char*, const void*, const pool_options&, const unpooled_blocks&) noexcept {}
  constexpr void hand_out(const void*, std::size_t, std::size_t) noexcept {}
  [[nodiscard]] constexpr bool take_back(const void*, std::size_t, std::size_t) noexcept { return true; }
  constexpr void allow_slack(const void*) noexcept {}
  constexpr void forget() noexcept {}
};

using pool_ledger = std::conditional_t<checked_build, block_ledger, no_block_ledger>;

}  // namespace cistern::detail
