// address_treap: how nodes in order of address come into a tree and go, of which some are above others.
#pragma once

#include <cstdint>

#include "split_mix.hpp"

namespace cistern::detail {

/// For chance. Addresses lie at regular distances. One multiplication would only turn those into other
/// regular distances, and leave rows of thousands of nodes in the order of their priorities: it takes a
/// second one of mixed bits. No two addresses have the same.
[[nodiscard]] inline std::uint64_t address_priority(const void* address) noexcept {
  const std::uint64_t mixed = reinterpret_cast<std::uintptr_t>(address) * split_mix_step;
  return (mixed ^ (mixed >> 32)) * split_mix_step;
}

/// A treap through the nodes themselves: it takes no memory, so it can't fail. After C. Aragon and R. Seidel,
/// "Randomized Search Trees", 1989; with another order of what is above what, as it is said. Not thread-safe.
///
/// `Node* Node::*Before` and `Behind` are the links to what lies before and behind a node. `Order` has
/// `comes_before(const Node*, const Node*)`, by address, and `is_above(const Node*, const Node*)`.
template <class Node, Node* Node::*Before, Node* Node::*Behind, class Order>
struct address_treap {
  /// O(depth).
  static void insert(Node*& root, Node* added) noexcept {
    Node** link = &root;
    while (*link != nullptr && Order::is_above(*link, added)) {
      link = &((*link)->*(Order::comes_before(*link, added) ? Behind : Before));
    }
    // Splits what hangs here into what lies before and what lies behind.
    Node* below = *link;
    *link = added;
    Node** before = &(added->*Before);
    Node** behind = &(added->*Behind);
    while (below != nullptr) {
      if (Order::comes_before(below, added)) {
        *before = below;
        before = &(below->*Behind);
        below = below->*Behind;
      } else {
        *behind = below;
        behind = &(below->*Before);
        below = below->*Before;
      }
    }
    *before = *behind = nullptr;
  }

  /// `removed` must be in the tree. O(depth).
  static void remove(Node*& root, Node* removed) noexcept {
    Node** link = &root;
    while (*link != removed) {  // NOLINT(clang-analyzer-core.NullDereference): it is in the tree
      link = &((*link)->*(Order::comes_before(*link, removed) ? Behind : Before));
    }
    // Joins what hangs below it.
    Node* before = removed->*Before;
    Node* behind = removed->*Behind;
    while (before != nullptr && behind != nullptr) {
      if (Order::is_above(before, behind)) {
        *link = before;
        link = &(before->*Behind);
        before = *link;
      } else {
        *link = behind;
        link = &(behind->*Before);
        behind = *link;
      }
    }
    *link = before != nullptr ? before : behind;
  }
};

}  // namespace cistern::detail
