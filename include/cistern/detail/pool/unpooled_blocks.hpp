// unpooled_blocks: what no bucket of a pool serves: oversize requests, and in null mode all of them.
#pragma once

#include <cistern/detail/base/block_request.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/detail/pool/oversize_list.hpp>
#include <cistern/detail/pool/pass_through.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>

namespace cistern::detail {

/// Blocks straight from upstream and back to it, remembered for `release`. Thread-safe, every function. Its
/// lock is the last one that is taken before upstream's.
class unpooled_blocks {
 public:
  unpooled_blocks(const pool_options& options, upstream_account& account) noexcept
      : pass_through_(options.pass_through), zero_on_free_(options.zero_on_free), account_(account) {}
  unpooled_blocks(const unpooled_blocks&) = delete;
  unpooled_blocks& operator=(const unpooled_blocks&) = delete;
  /// Calls `release`.
  ~unpooled_blocks() { release(); }

  /// A block. If `max_bytes` refuses it, or upstream says `std::bad_alloc`, it is tried once more after
  /// `make_room()`, which gives back what the pool has idle, or says false. Throws `bad_allocation`, and what
  /// upstream throws. Sizes above `PTRDIFF_MAX`, what is added included: see
  /// `upstream_account::refuse_impossible`.
  template <class MakeRoom>
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment, MakeRoom make_room) {
    if (bytes > oversize_list::most_bytes()) [[unlikely]] {
      expect_possible(bytes, alignment);
    }
    try {
      if (void* block = try_allocate(bytes, alignment); block != nullptr) {
        return block;
      }
    } catch (const std::bad_alloc&) {
      if (bytes >= absurd_bytes || !make_room()) {
        throw;
      }
      return or_refuse(try_allocate(bytes, alignment), bytes);
    }
    make_room();
    return or_refuse(try_allocate(bytes, alignment), bytes);
  }

  /// `bytes`: what was asked for, or what was granted.
  void deallocate(void* block, std::size_t bytes, std::size_t alignment) noexcept;

  /// Whether an oversize block was asked for so, or granted. `block + bytes`, rounded up, must be the end of
  /// one. O(1).
  [[nodiscard]] bool is_oversize_block(const void* block, std::size_t bytes,
                                       std::size_t alignment) const noexcept;

  /// How `block` can be given back, if it is one of these. O(blocks).
  [[nodiscard]] std::optional<block_request> find(const void* block) const;

  /// Gives every block back. O(blocks).
  void release() noexcept;

  /// Adds what is here to a pool's statistics. Takes no lock: upstream may ask while it is called.
  void add_to(pool_statistics& statistics) const;

  /// For fork: see `fork_participant`.
  bool each_lock(lock_visitor& visit) noexcept { return visit(oversize_lock_) && passed_.each_lock(visit); }

 private:
  [[nodiscard]] void* try_allocate(std::size_t bytes, std::size_t alignment);
  void expect_possible(std::size_t bytes, std::size_t alignment) const;
  [[nodiscard]] void* or_refuse(void* block, std::size_t bytes) const {
    if (block == nullptr) {
      account_.refuse(bytes, oversize_list::granted_bytes(bytes));
    }
    return block;
  }

  /// What any thread may read of the list, at any time.
  [[nodiscard]] const oversize_list& oversize_figures() const noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    return oversize_;
  }

  const bool pass_through_;
  const bool zero_on_free_;
  upstream_account& account_;
  mutable mutex oversize_lock_;
  oversize_list oversize_ CISTERN_GUARDED_BY(oversize_lock_);
  pass_through_table passed_;
};

}  // namespace cistern::detail
