#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/pool/unpooled_blocks.hpp>

#include <cstring>

namespace cistern::detail {

void* unpooled_blocks::try_allocate(std::size_t bytes, std::size_t alignment) {
  if (pass_through_) {
    return passed_.try_allocate(bytes, alignment, account_);
  }
  // Upstream is called under the lock: at a fork nobody may be inside of it.
  const scoped_lock guard(oversize_lock_);
  return oversize_.try_allocate(bytes, alignment, account_);
}

void unpooled_blocks::expect_possible(std::size_t bytes, std::size_t alignment) const {
  if (pass_through_ && bytes <= PTRDIFF_MAX) {
    return;  // nothing is added
  }
  const scoped_lock guard(oversize_lock_);
  account_.refuse_impossible(bytes, pass_through_ ? bytes : oversize_list::upstream_bytes(bytes),
                             pass_through_ ? alignment : oversize_list::upstream_alignment(alignment));
}

void unpooled_blocks::deallocate(void* block, std::size_t bytes, std::size_t alignment) noexcept {
  if (pass_through_) {
    passed_.deallocate(block, bytes, alignment, zero_on_free_, account_);
    return;
  }
  if (account_.is_watched()) {
    if (is_forbidden(block) && !find(block)) {
      report_misuse("a block is given back that is not in use", block, bytes);
      return;
    }
    allow_access(block, oversize_list::granted_bytes(bytes));
  }
  if (zero_on_free_) {
    std::memset(block, 0, oversize_list::granted_bytes(bytes));
  }
  const scoped_lock guard(oversize_lock_);
  oversize_.deallocate(block, bytes, alignment, account_);
}

bool unpooled_blocks::is_oversize_block(const void* block, std::size_t bytes,
                                        std::size_t alignment) const noexcept {
  const scoped_lock guard(oversize_lock_);
  return oversize_list::is_block(block, bytes, alignment);
}

std::optional<block_request> unpooled_blocks::find(const void* block) const {
  if (pass_through_) {
    return passed_.find(block);
  }
  const scoped_lock guard(oversize_lock_);
  return oversize_.find(block);
}

void unpooled_blocks::release() noexcept {
  const scoped_lock guard(oversize_lock_);
  oversize_.release(account_);
  passed_.release(account_);
}

void unpooled_blocks::add_to(pool_statistics& statistics) const {
  if (pass_through_) {
    statistics.oversize = passed_.statistics();
  } else {
    statistics.oversize = oversize_figures().statistics();
    statistics.overhead_bytes += oversize_figures().overhead_bytes();
  }
  statistics.in_use_bytes += statistics.oversize.live_bytes;
}

}  // namespace cistern::detail
