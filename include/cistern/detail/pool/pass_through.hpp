// pass_through_table: the null mode of a pool: every request goes to upstream as it is, and is remembered.
#pragma once

#include <cistern/detail/base/block_request.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/pool/oversize_counts.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_statistics.hpp>

#include <cstddef>
#include <memory>
#include <optional>

namespace cistern::detail {

/// Upstream sees the very sizes and alignments that the user passes, so that what checks memory there (ASan,
/// Valgrind, a debugging resource) finds errors to the byte. What `release` needs is kept in a table beside,
/// in memory from new/delete that the account doesn't count. Made by the first request, so that a pool in the
/// usual mode pays nothing for it. Thread-safe; speed is no aim here.
class pass_through_table {
 public:
  pass_through_table() noexcept;
  ~pass_through_table();

  /// Null where the account's limit refuses the request. Passes on what upstream throws, or `std::bad_alloc`
  /// when the table can't grow; nothing is changed then.
  [[nodiscard]] void* try_allocate(std::size_t bytes, std::size_t alignment, upstream_account& account);

  /// Hands the call on as it is, also when the arguments don't agree with the allocation's: telling so is
  /// upstream's part. `zero`: overwrite the block with zeros first.
  void deallocate(void* block, std::size_t bytes, std::size_t alignment, bool zero,
                  upstream_account& account) noexcept;

  /// How `block` can be given back, if it is out.
  [[nodiscard]] std::optional<block_request> find(const void* block) const;

  /// Gives back every block still out. O(blocks).
  void release(upstream_account& account) noexcept;

  /// Takes no lock.
  [[nodiscard]] oversize_statistics statistics() const noexcept { return counts_.read(); }

  /// For fork: see `fork_participant`.
  bool each_lock(lock_visitor& visit) noexcept { return visit(mutex_); }

 private:
  struct table;

  [[nodiscard]] std::optional<block_request> look_up(const void* block) const CISTERN_REQUIRES(mutex_);

  oversize_counts counts_;
  mutable mutex mutex_;
  std::unique_ptr<table> table_ CISTERN_GUARDED_BY(mutex_);  // null: nothing was ever asked for
};

}  // namespace cistern::detail
