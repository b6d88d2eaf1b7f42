#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/slot_table.hpp>

#include <memory>
#include <new>
#include <utility>

namespace cistern::detail {

slot_table::slot_table(std::pmr::memory_resource* resource, slot_type type) noexcept
    : resource_(resource), type_(type), watched_(type.object_bytes != 0 && memory_checker_present()) {}

slot_table::~slot_table() {
  for (std::uint32_t index = 1; index <= used_; ++index) {
    if (pool_slot* const slot = (*this)[index].slot.load(std::memory_order_relaxed)) {
      remove(*slot);
    }
  }
  std::pmr::polymorphic_allocator<slot_place> allocator(resource_);
  for (unsigned block = 0; block < blocks_used_; ++block) {
    allocator.deallocate(blocks_[block].load(std::memory_order_relaxed), std::size_t{1} << block);
  }
}

pool_slot& slot_table::make() {
  const no_cancellation of_the_resource;  // `try_acquire` may be noexcept
  if (vacant_ == 0 && used_ == places()) {
    add_block();
  }
  pool_slot& slot = *type_.construct(resource_->allocate(slot_bytes(), type_.align_bytes));
  slot.watched = watched_;
  slot.index = vacant_ != 0 ? vacant_ : ++used_;
  slot.place = &(*this)[slot.index];
  if (vacant_ != 0) {
    vacant_ = slot.place->next_index.load(std::memory_order_relaxed);
  }
  // Relaxed, as below: who finds the index in an idle stack has been ordered behind the push.
  slot.place->slot.store(&slot, std::memory_order_relaxed);
  ++count_;
  return slot;
}

// Slots are trivially destructible in effect.
void slot_table::remove(pool_slot& slot) noexcept {
  const no_cancellation of_the_resource;
  --count_;
  slot.place->slot.store(nullptr, std::memory_order_relaxed);
  slot.place->next_index.store(std::exchange(vacant_, slot.index), std::memory_order_relaxed);
  if (watched_) {
    allow_access(&slot, slot_bytes());
  }
  resource_->deallocate(&slot, slot_bytes(), type_.align_bytes);
}

void slot_table::add_block() {
  if (blocks_used_ == max_blocks) {
    throw std::bad_alloc();
  }
  const std::size_t count = std::size_t{1} << blocks_used_;
  slot_place* const block = std::pmr::polymorphic_allocator<slot_place>(resource_).allocate(count);
  std::uninitialized_default_construct_n(block, count);
  // Release pairs with the acquire in operator[].
  blocks_[blocks_used_].store(block, std::memory_order_release);
  ++blocks_used_;
}

}  // namespace cistern::detail
