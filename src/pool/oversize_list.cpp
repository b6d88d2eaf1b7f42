#include <cistern/detail/pool/oversize_list.hpp>

#include <algorithm>
#include <new>

namespace cistern::detail {

void* oversize_list::try_allocate(std::size_t bytes, std::size_t alignment, upstream_account& account) {
  const std::size_t granted = granted_bytes(bytes);
  auto* block = static_cast<std::byte*>(
      account.try_allocate(granted + sizeof(record), std::max(alignment, record_alignment)));
  if (block == nullptr) {
    return nullptr;
  }
  auto* added = new (block + granted)
      record{.next = head_, .previous = nullptr, .bytes = granted, .alignment = alignment};
  if (head_ != nullptr) {
    head_->previous = added;
  }
  head_ = added;
  counts_.add(granted);
  return block;
}

void oversize_list::deallocate(void* block, std::size_t bytes, std::size_t alignment,
                               upstream_account& account) noexcept {
  const std::size_t granted = granted_bytes(bytes);
  auto* removed = reinterpret_cast<record*>(static_cast<std::byte*>(block) + granted);
  (removed->previous != nullptr ? removed->previous->next : head_) = removed->next;
  if (removed->next != nullptr) {
    removed->next->previous = removed->previous;
  }
  counts_.remove(granted);
  account.deallocate(block, granted + sizeof(record), std::max(alignment, record_alignment));
}

std::optional<block_request> oversize_list::find(const void* block) const noexcept {
  for (const record* each = head_; each != nullptr; each = each->next) {
    if (reinterpret_cast<const std::byte*>(each) - each->bytes == block) {
      return block_request{each->bytes, each->alignment};
    }
  }
  return std::nullopt;
}

void oversize_list::release(upstream_account& account) noexcept {
  while (head_ != nullptr) {
    record* const last = head_;
    head_ = last->next;
    account.deallocate(reinterpret_cast<std::byte*>(last) - last->bytes, last->bytes + sizeof(record),
                       std::max(last->alignment, record_alignment));
  }
  counts_.forget_live();
}

}  // namespace cistern::detail
