#include <cistern/detail/pool/region_tree.hpp>

#include <cstdint>
#include <functional>

namespace cistern::detail {
namespace {

// Regions lie at regular distances. One multiplication would only turn those into other regular distances,
// and leave rows of thousands of regions in the order of their priorities: it takes a second one of mixed
// bits.
std::uint64_t priority(const heap_region* of) noexcept {
  constexpr std::uint64_t odd = 0x9e3779b97f4a7c15U;
  const std::uint64_t mixed = reinterpret_cast<std::uintptr_t>(of->base) * odd;
  return (mixed ^ (mixed >> 32)) * odd;
}

bool lies_before(const heap_region* one, const void* address) noexcept {
  return std::less<const void*>{}(one->base, address);
}

}  // namespace

void region_tree::insert(heap_region* added) noexcept {
  heap_region** link = &root_;
  while (*link != nullptr && priority(*link) >= priority(added)) {
    link = lies_before(*link, added->base) ? &(*link)->right : &(*link)->left;
  }
  // Splits what hangs here into what lies before and what lies behind.
  heap_region* below = *link;
  *link = added;
  heap_region** before = &added->left;
  heap_region** behind = &added->right;
  while (below != nullptr) {
    if (lies_before(below, added->base)) {
      *before = below;
      before = &below->right;
      below = below->right;
    } else {
      *behind = below;
      behind = &below->left;
      below = below->left;
    }
  }
  *before = *behind = nullptr;
}

void region_tree::remove(heap_region* removed) noexcept {
  heap_region** link = &root_;
  while (*link != removed) {
    link = lies_before(*link, removed->base) ? &(*link)->right : &(*link)->left;
  }
  // Joins what hangs below it, the higher priority on top.
  heap_region* before = removed->left;
  heap_region* behind = removed->right;
  while (before != nullptr && behind != nullptr) {
    if (priority(before) >= priority(behind)) {
      *link = before;
      link = &before->right;
      before = before->right;
    } else {
      *link = behind;
      link = &behind->left;
      behind = behind->left;
    }
  }
  *link = before != nullptr ? before : behind;
  last_ = nullptr;
}

heap_region* region_tree::next(const void* address) const noexcept {
  const std::less<const void*> before;
  heap_region* found = nullptr;
  for (heap_region* at = root_; at != nullptr;) {
    if (before(address, at->base)) {
      found = at;
      at = at->left;
    } else {
      at = at->right;
    }
  }
  return found;
}

heap_region* region_tree::find_from_root(const void* address) const noexcept {
  const std::less<const void*> before;
  heap_region* found = nullptr;
  for (heap_region* at = root_; at != nullptr;) {
    if (before(address, at->base)) {
      at = at->left;
    } else {
      found = at;
      at = at->right;
    }
  }
  return found != nullptr && found->holds(address) ? found : nullptr;
}

}  // namespace cistern::detail
