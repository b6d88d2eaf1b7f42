#include "sampled_blocks.hpp"

namespace cistern::detail {

bool sampled_blocks::insert(std::uintptr_t block) noexcept {
  if (contains(block)) return true;  // Its free went past us.
  const std::size_t first = first_place(block);
  for (std::size_t i = first; i < first + places; ++i) {
    std::uintptr_t none = 0;
    if (table_->blocks[i].compare_exchange_strong(none, block, std::memory_order_relaxed)) return true;
  }
  return false;
}

void sampled_blocks::erase(std::uintptr_t block) noexcept {
  const std::size_t first = first_place(block);
  for (std::size_t i = first; i < first + places; ++i) {
    if (table_->blocks[i].load(std::memory_order_relaxed) == block) {
      table_->blocks[i].store(0, std::memory_order_relaxed);
    }
  }
}

}  // namespace cistern::detail
