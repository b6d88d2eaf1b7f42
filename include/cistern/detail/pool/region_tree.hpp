// region_tree: the regions of a page heap by address, to find the one that holds a block.
#pragma once

#include <cistern/detail/pool/span.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace cistern::detail {

/// A treap through the regions themselves: it takes no memory, so it can't fail. After C. Aragon and R.
/// Seidel, "Randomized Search Trees", 1989, with a hash of the address for chance. Not thread-safe.
class region_tree {
 public:
  /// O(log(regions)), as the others.
  void insert(heap_region* added) noexcept;
  void remove(heap_region* removed) noexcept;

  /// The region that holds `address`, or null. O(1) where it was found for an address nearby.
  [[nodiscard]] heap_region* find(const void* address) const noexcept {
    heap_region*& seen = seen_[reinterpret_cast<std::uintptr_t>(address) / nearby_bytes % seen_count];
    if (seen == nullptr || !seen->holds(address)) [[unlikely]] {
      seen = find_from_root(address);
    }
    return seen;
  }

  /// The first region that begins behind `address`, or null.
  [[nodiscard]] heap_region* next(const void* address) const noexcept;

  [[nodiscard]] bool empty() const noexcept { return root_ == nullptr; }
  /// One of them, where there is any.
  [[nodiscard]] heap_region* any() const noexcept { return root_; }
  /// Calls `visit(const heap_region&)` for each, in order of address. Depth of the recursion:
  /// O(log(regions)).
  template <class F>
  void for_each(F visit) const {
    for_each_below(root_, visit);
  }

 private:
  [[nodiscard]] heap_region* find_from_root(const void* address) const noexcept;
  template <class F>
  static void for_each_below(const heap_region* root, F& visit) {
    if (root != nullptr) {
      for_each_below(root->left, visit);
      visit(*root);
      for_each_below(root->right, visit);
    }
  }

  /// As large as most regions of a large heap.
  static constexpr std::size_t nearby_bytes = std::size_t{4} << 20;
  static constexpr std::size_t seen_count = 16;

  heap_region* root_ = nullptr;
  mutable std::array<heap_region*, seen_count> seen_{};  ///< What was found last, by address.
};

}  // namespace cistern::detail
