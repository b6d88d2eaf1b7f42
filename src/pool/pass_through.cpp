#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/pool/pass_through.hpp>

#include <cstring>
#include <unordered_map>

namespace cistern::detail {

struct pass_through_table::table {
  std::unordered_map<void*, block_request> blocks;
};

pass_through_table::pass_through_table() noexcept = default;
pass_through_table::~pass_through_table() = default;

void* pass_through_table::try_allocate(std::size_t bytes, std::size_t alignment, upstream_account& account) {
  // Upstream is called under the lock, so that no thread is inside of it while it is held at a fork.
  const scoped_lock guard(mutex_);
  if (table_ == nullptr) {
    table_ = std::make_unique<table>();
  }
  void* const block = account.try_allocate(bytes, alignment);
  if (block == nullptr) {
    return nullptr;
  }
  try {
    table_->blocks.insert_or_assign(block, block_request{bytes, alignment});
  } catch (...) {
    account.deallocate(block, bytes, alignment);
    throw;
  }
  counts_.add(bytes);
  return block;
}

void pass_through_table::deallocate(void* block, std::size_t bytes, std::size_t alignment, bool zero,
                                    upstream_account& account) noexcept {
  const scoped_lock guard(mutex_);
  const std::optional<block_request> known = look_up(block);
  if (!known) {
    // Not ours: upstream is asked all the same, without touching the account, so that its checks can speak.
    const no_cancellation in_upstream;
    account.upstream()->deallocate(block, bytes, alignment);
    return;
  }
  const std::size_t counted_bytes = known->bytes;
  counts_.remove(counted_bytes);
  table_->blocks.erase(block);
  if (zero) {
    std::memset(block, 0, counted_bytes);  // whatever `bytes` says: a wrong size is upstream's to find
  }
  account.deallocate_as(block, bytes, alignment, counted_bytes);
}

std::optional<block_request> pass_through_table::find(const void* block) const {
  const scoped_lock guard(mutex_);
  return look_up(block);
}

std::optional<block_request> pass_through_table::look_up(const void* block) const {
  if (table_ == nullptr) {
    return std::nullopt;
  }
  const auto found = table_->blocks.find(const_cast<void*>(block));
  return found != table_->blocks.end() ? std::optional(found->second) : std::nullopt;
}

void pass_through_table::release(upstream_account& account) noexcept {
  const scoped_lock guard(mutex_);
  if (table_ == nullptr) {
    return;
  }
  for (const auto& [block, asked] : table_->blocks) {
    account.deallocate(block, asked.bytes, asked.alignment);
  }
  table_->blocks.clear();
  counts_.forget_live();
}

}  // namespace cistern::detail
