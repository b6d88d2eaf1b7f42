#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/slot_table.hpp>

#include <new>

namespace cistern::detail {

slot_table::~slot_table() {
  // Slots are trivially destructible in effect: their objects are gone before the table is.
  for (unsigned block = 0; block < blocks_used_; ++block) {
    resource_->deallocate(blocks_[block].load(std::memory_order_relaxed),
                          (std::size_t{1} << block) * type_.size_bytes, type_.align_bytes);
  }
}

void slot_table::add_block() {
  const std::size_t count = std::size_t{1} << blocks_used_;
  if (blocks_used_ == max_blocks || count > SIZE_MAX / type_.size_bytes) {
    throw std::bad_alloc();
  }
  const std::uint32_t first_index = slots() + 1;
  const no_cancellation of_the_resource;  // `try_acquire` may be noexcept
  auto* const room =
      static_cast<std::byte*>(resource_->allocate(count * type_.size_bytes, type_.align_bytes));
  for (std::size_t i = 0; i < count; ++i) {
    type_.construct(room + i * type_.size_bytes)->index = first_index + static_cast<std::uint32_t>(i);
  }
  // Release pairs with the acquire in operator[].
  blocks_[blocks_used_].store(room, std::memory_order_release);
  ++blocks_used_;
}

}  // namespace cistern::detail
