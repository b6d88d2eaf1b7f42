// oversize_list: blocks that no bucket serves, each straight from upstream and back to it.
#pragma once

#include <cistern/detail/base/block_request.hpp>
#include <cistern/detail/pool/oversize_counts.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_statistics.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace cistern::detail {

/// Keeps its blocks in a doubly linked list whose links lie behind each block, where the size given at
/// deallocation finds them: both operations are O(1) but for upstream. Not thread-safe.
class oversize_list {
 public:
  /// Beyond this a request takes more than any object can be.
  [[nodiscard]] static constexpr std::size_t most_bytes() noexcept { return PTRDIFF_MAX - most_more_bytes(); }
  /// What a request takes of upstream: `SIZE_MAX` where that overflows, and the alignment.
  [[nodiscard]] static constexpr std::size_t upstream_bytes(std::size_t bytes) noexcept {
    return bytes < SIZE_MAX - most_more_bytes() ? granted_bytes(bytes) + sizeof(record) : SIZE_MAX;
  }
  [[nodiscard]] static constexpr std::size_t upstream_alignment(std::size_t alignment) noexcept {
    return alignment < record_alignment ? record_alignment : alignment;
  }
  /// The size of the block that a request of `bytes` gets; overflow is the caller's to refuse.
  [[nodiscard]] static constexpr std::size_t granted_bytes(std::size_t bytes) noexcept {
    return (bytes + (record_alignment - 1)) & ~(record_alignment - 1);
  }

  /// A block of `granted_bytes(bytes)`, of which only `bytes` may be touched where a memory checker looks on
  /// (who grants the rest must allow it), or null where the account's limit refuses it. Passes on what
  /// upstream throws. `bytes` at most `PTRDIFF_MAX`.
  [[nodiscard]] void* try_allocate(std::size_t bytes, std::size_t alignment, upstream_account& account);

  /// `bytes`: what was asked for, or what was granted; `alignment`: what was asked for.
  void deallocate(void* block, std::size_t bytes, std::size_t alignment, upstream_account& account) noexcept;

  /// Whether `block` was asked for so, or granted. `block + granted_bytes(bytes)` must be the end of a block.
  [[nodiscard]] static bool is_block(const void* block, std::size_t bytes, std::size_t alignment) noexcept;

  /// How `block` can be given back, if it is one of these. O(blocks).
  [[nodiscard]] std::optional<block_request> find(const void* block) const noexcept;

  /// Gives every block back. O(blocks).
  void release(upstream_account& account) noexcept;

  /// Any thread may ask at any time.
  [[nodiscard]] oversize_statistics statistics() const noexcept { return counts_.read(); }
  /// Bytes held from upstream that are not the user's: the records. As above.
  [[nodiscard]] std::size_t overhead_bytes() const noexcept { return counts_.live_blocks() * sizeof(record); }

 private:
  struct record {
    record* next;
    record* previous;
    std::size_t bytes;
    std::size_t alignment;
  };
  static constexpr std::size_t record_alignment = alignof(std::max_align_t);
  [[nodiscard]] static constexpr std::size_t most_more_bytes() noexcept {
    return sizeof(record) + record_alignment;
  }
  static void give_back(void* block, std::size_t granted, std::size_t alignment,
                        upstream_account& account) noexcept;

  record* head_ = nullptr;
  oversize_counts counts_;
};

}  // namespace cistern::detail
