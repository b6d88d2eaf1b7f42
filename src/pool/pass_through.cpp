#include <cistern/detail/pool/pass_through.hpp>

#include <cstring>

namespace cistern::detail {

void* pass_through_table::try_allocate(std::size_t bytes, std::size_t alignment, upstream_account& account) {
  // Upstream is called under the lock, so that no thread is inside of it while it is held at a fork.
  const std::lock_guard guard(mutex_);
  void* block = account.try_allocate(bytes, alignment);
  if (block == nullptr) {
    return nullptr;
  }
  try {
    blocks_.insert_or_assign(block, request{bytes, alignment});
  } catch (...) {
    account.deallocate(block, bytes, alignment);
    throw;
  }
  ++statistics_.allocations;
  ++statistics_.live_blocks;
  statistics_.live_bytes += bytes;
  return block;
}

void pass_through_table::deallocate(void* block, std::size_t bytes, std::size_t alignment, bool zero,
                                    upstream_account& account) noexcept {
  const std::lock_guard guard(mutex_);
  const auto found = blocks_.find(block);
  if (found == blocks_.end()) {
    // Not ours: upstream is asked all the same, without touching the account, so that its checks can speak.
    account.upstream()->deallocate(block, bytes, alignment);
    return;
  }
  const std::size_t counted_bytes = found->second.bytes;
  ++statistics_.deallocations;
  --statistics_.live_blocks;
  statistics_.live_bytes -= counted_bytes;
  blocks_.erase(found);
  if (zero) {
    std::memset(block, 0, counted_bytes);  // whatever `bytes` says: a wrong size is upstream's to find
  }
  account.deallocate_as(block, bytes, alignment, counted_bytes);
}

std::optional<block_request> pass_through_table::find(const void* block) const {
  const std::lock_guard guard(mutex_);
  const auto found = blocks_.find(const_cast<void*>(block));
  if (found == blocks_.end()) {
    return std::nullopt;
  }
  return block_request{found->second.bytes, found->second.alignment};
}

void pass_through_table::release(upstream_account& account) noexcept {
  const std::lock_guard guard(mutex_);
  for (const auto& [block, asked] : blocks_) {
    account.deallocate(block, asked.bytes, asked.alignment);
  }
  blocks_.clear();
  statistics_.live_blocks = 0;
  statistics_.live_bytes = 0;
}

oversize_statistics pass_through_table::statistics() const {
  const std::lock_guard guard(mutex_);
  return statistics_;
}

}  // namespace cistern::detail
