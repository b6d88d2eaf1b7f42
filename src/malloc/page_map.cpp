#include "page_map.hpp"

#include <cistern/detail/base/os_pages.hpp>

namespace cistern::detail {

bool page_map::make_leaf(std::uintptr_t top) noexcept {
  if (root_[top].load(std::memory_order_acquire) != nullptr) {
    return true;
  }
  // New pages read as zero, which is what a leaf begins with.
  auto* made = static_cast<leaf*>(map_pages(sizeof(leaf), alignof(leaf)));
  if (made == nullptr) {
    return false;
  }
  leaf* expected = nullptr;
  // Release pairs with the acquire in `at`; acquire, because another thread's leaf may be used next.
  if (!root_[top].compare_exchange_strong(expected, made, std::memory_order_acq_rel)) {
    unmap_pages(made, sizeof(leaf));
  }
  return true;
}

bool page_map::cover(const void* first, std::size_t bytes) noexcept {
  const auto number = reinterpret_cast<std::uintptr_t>(first);
  const std::uintptr_t last_top = (number + bytes - 1) >> leaf_reach_bits;
  if (last_top >= root_.size()) {
    return false;
  }
  for (std::uintptr_t top = number >> leaf_reach_bits; top <= last_top; ++top) {
    if (!make_leaf(top)) {
      return false;
    }
  }
  return true;
}

void page_map::set(const void* first, std::size_t bytes, code value) noexcept {
  constexpr std::uintptr_t mapped_page_bytes = std::uintptr_t{1} << page_bits;
  const auto number = reinterpret_cast<std::uintptr_t>(first);
  for (std::uintptr_t page = number & ~(mapped_page_bytes - 1); page < number + bytes;
       page += mapped_page_bytes) {
    leaf* found = root_[page >> leaf_reach_bits].load(std::memory_order_acquire);
    (*found)[page_in_leaf(page)].store(value, std::memory_order_relaxed);
  }
}

}  // namespace cistern::detail
