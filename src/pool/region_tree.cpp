#include <cistern/detail/pool/region_tree.hpp>

#include <algorithm>
#include <functional>

#include "../base/address_treap.hpp"

namespace cistern::detail {
namespace {

struct order {
  static bool comes_before(const heap_region* one, const heap_region* other) noexcept {
    return std::less<const void*>{}(one->base, other->base);
  }
  static bool is_above(const heap_region* one, const heap_region* other) noexcept {
    return address_priority(one->base) > address_priority(other->base);
  }
};
using treap = address_treap<heap_region, &heap_region::left, &heap_region::right, order>;

}  // namespace

void region_tree::insert(heap_region* added) noexcept {
  treap::insert(root_, added);
}

void region_tree::remove(heap_region* removed) noexcept {
  treap::remove(root_, removed);
  std::replace(seen_.begin(), seen_.end(), removed, static_cast<heap_region*>(nullptr));
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
