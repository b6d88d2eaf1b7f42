// magazine: what thread caches and depot trade, and for which classes.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/free_list.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// A linked list of blocks of one class that moves between caches and depot as a whole.
struct magazine {
  free_block* head = nullptr;
  std::size_t blocks = 0;
};

/// Magazines of at least two blocks each, last in, first out. It takes no memory of its own: the first block
/// of each leads to the next magazine, the second says how many there are. All O(1) but `for_each`.
class magazine_stack {
 public:
  [[nodiscard]] bool empty() const noexcept { return top_ == nullptr; }
  /// The first block of what came last, or null.
  [[nodiscard]] const free_block* top() const noexcept { return top_; }
  /// Blocks in all of them.
  [[nodiscard]] std::size_t blocks() const noexcept { return blocks_; }

  void push(magazine full) noexcept {
    full.head->next_list(top_);
    full.head->next()->next_list(reinterpret_cast<free_block*>(full.blocks));
    top_ = full.head;
    blocks_ += full.blocks;
  }

  /// There must be one.
  [[nodiscard]] magazine pop() noexcept {
    const magazine taken{top_, reinterpret_cast<std::size_t>(top_->next()->next_list())};
    top_ = top_->next_list();
    blocks_ -= taken.blocks;
    return taken;
  }

  /// Calls `visit` with each block.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const free_block* first = top_; first != nullptr; first = first->next_list()) {
      for (const free_block* block = first; block != nullptr; block = block->next()) {
        visit(block);
      }
    }
  }

 private:
  free_block* top_ = nullptr;
  std::size_t blocks_ = 0;
};

/// What the calling thread keeps for itself, as the depot sees it.
class flushable {
 public:
  /// Hands every block to the depot.
  virtual void flush() noexcept = 0;
  /// The same on behalf of every trim requested so far.
  virtual void flush_for_trim() noexcept = 0;

 protected:
  ~flushable() = default;
};

/// Blocks with more bytes than this are in no list that a fast path looks at: neither in threads' caches nor
/// in the pool for one thread. The depot, or the set of buckets, serves them directly.
inline constexpr std::size_t largest_cached_block_bytes = std::size_t{256} << 10;
inline constexpr unsigned cached_class_count = computed_class_of(largest_cached_block_bytes - 1) + 1;

}  // namespace cistern::detail
