#include "page_map.hpp"

#include <cistern/detail/base/os_pages.hpp>

#include <algorithm>

namespace cistern::detail {

// New pages read as zero, which is what a leaf begins with.
page_map::leaf* page_map::new_leaf() noexcept {
  return static_cast<leaf*>(map_pages(sizeof(leaf), alignof(leaf)));
}

void page_map::free_leaf(leaf* unused) noexcept {
  unmap_pages(unused, sizeof(leaf));
}

// False where there is one already.
bool page_map::try_add(std::uintptr_t top, leaf* added) noexcept {
  leaf* expected = nullptr;
  // Release pairs with the acquire in `at`; acquire, because another thread's leaf may be used next.
  return root_[top].compare_exchange_strong(expected, added, std::memory_order_acq_rel);
}

bool page_map::make_leaf(std::uintptr_t top) noexcept {
  if (root_[top].load(std::memory_order_acquire) != nullptr) {
    return true;
  }
  leaf* const made = new_leaf();
  if (made == nullptr) {
    return false;
  }
  if (!try_add(top, made)) {
    free_leaf(made);
  }
  return true;
}

void page_map::cover(const void* address, spare_leaf& with) noexcept {
  if (try_add(reinterpret_cast<std::uintptr_t>(address) >> leaf_reach_bits, with.leaf_)) {
    with.leaf_ = nullptr;
  }
}

// Relaxed: a spare leaf is zeros that nobody has touched; it is published like a new one.
page_map::spare_leaf::spare_leaf(page_map& map) noexcept
    : map_(map), leaf_(map.spare_.exchange(nullptr, std::memory_order_relaxed)) {
  if (leaf_ == nullptr) {
    leaf_ = new_leaf();
  }
}

page_map::spare_leaf::~spare_leaf() {
  if (leaf_ == nullptr) {
    return;
  }
  if (leaf* const other = map_.spare_.exchange(leaf_, std::memory_order_relaxed); other != nullptr) {
    free_leaf(other);
  }
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
  const std::uintptr_t first_page = reinterpret_cast<std::uintptr_t>(first) >> page_bits;
  const std::uintptr_t end = ((reinterpret_cast<std::uintptr_t>(first) + bytes - 1) >> page_bits) + 1;
  for (std::uintptr_t page = first_page; page < end;) {
    leaf& in = *root_[page / leaf_pages].load(std::memory_order_acquire);
    const std::uintptr_t stop = std::min(end, (page / leaf_pages + 1) * leaf_pages);
    for (; page < stop; ++page) {
      in[page % leaf_pages].store(value, std::memory_order_relaxed);
    }
  }
}

}  // namespace cistern::detail
