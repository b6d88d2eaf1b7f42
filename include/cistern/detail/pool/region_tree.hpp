// region_tree: the regions of a page heap by address, to find the one that holds a block.
#pragma once

#include <cistern/detail/pool/span.hpp>

#include <cstddef>
#include <functional>

namespace cistern::detail {

/// A treap through the regions themselves: it takes no memory, so it can't fail. After C. Aragon and R.
/// Seidel, "Randomized Search Trees", 1989, with a hash of the address for chance. Not thread-safe.
class region_tree {
 public:
  /// O(log(regions)), as the others.
  void insert(heap_region* added) noexcept;
  void remove(heap_region* removed) noexcept;

  /// The region that holds `address`, or null. O(1) where it is the same as the last time.
  [[nodiscard]] heap_region* find(const void* address) const noexcept {
    if (last_ == nullptr || !last_->holds(address)) [[unlikely]] {
      last_ = find_from_root(address);
    }
    return last_;
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

  heap_region* root_ = nullptr;
  mutable heap_region* last_ = nullptr;  ///< What was found last.
};

}  // namespace cistern::detail
