#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/pool/oversize_list.hpp>

#include <new>

namespace cistern::detail {

void* oversize_list::try_allocate(std::size_t bytes, std::size_t alignment, upstream_account& account) {
  const std::size_t granted = granted_bytes(bytes);
  auto* block =
      static_cast<std::byte*>(account.try_allocate(upstream_bytes(bytes), upstream_alignment(alignment)));
  if (block == nullptr) {
    return nullptr;
  }
  {
    const checker_pause pause;
    auto* added = new (block + granted)
        record{.next = head_, .previous = nullptr, .bytes = granted, .alignment = alignment};
    if (head_ != nullptr) {
      head_->previous = added;
    }
    head_ = added;
  }
  counts_.add(granted);
  if (account.is_watched()) {
    // Instrumented code may not touch a record either; plain code is heard by memcheck only.
    const std::size_t record_bytes = account.lists_are_shut() ? sizeof(record) : 0;
    forbid_access(block + bytes, granted + record_bytes - bytes);
  }
  return block;
}

void oversize_list::deallocate(void* block, std::size_t bytes, std::size_t alignment,
                               upstream_account& account) noexcept {
  const std::size_t granted = granted_bytes(bytes);
  {
    const checker_pause pause;
    auto* removed = reinterpret_cast<record*>(static_cast<std::byte*>(block) + granted);
    (removed->previous != nullptr ? removed->previous->next : head_) = removed->next;
    if (removed->next != nullptr) {
      removed->next->previous = removed->previous;
    }
  }
  counts_.remove(granted);
  give_back(block, granted, alignment, account);
}

void oversize_list::give_back(void* block, std::size_t granted, std::size_t alignment,
                              upstream_account& account) noexcept {
  const std::size_t bytes = granted + sizeof(record);
  if (account.is_watched()) {
    allow_access(block, bytes);
  }
  account.deallocate(block, bytes, upstream_alignment(alignment));
}

bool oversize_list::is_block(const void* block, std::size_t bytes, std::size_t alignment) noexcept {
  const checker_pause pause;
  const std::size_t granted = granted_bytes(bytes);
  const auto* const at = reinterpret_cast<const record*>(static_cast<const std::byte*>(block) + granted);
  return at->bytes == granted && at->alignment == alignment;
}

std::optional<block_request> oversize_list::find(const void* block) const noexcept {
  const checker_pause pause;
  for (const record* each = head_; each != nullptr; each = each->next) {
    if (reinterpret_cast<const std::byte*>(each) - each->bytes == block) {
      return block_request{each->bytes, each->alignment};
    }
  }
  return std::nullopt;
}

void oversize_list::release(upstream_account& account) noexcept {
  while (head_ != nullptr) {
    record last{};
    std::byte* block = nullptr;
    {
      const checker_pause pause;
      last = *head_;
      block = reinterpret_cast<std::byte*>(head_) - last.bytes;
    }
    head_ = last.next;
    give_back(block, last.bytes, last.alignment, account);
  }
  counts_.forget_live();
}

}  // namespace cistern::detail
