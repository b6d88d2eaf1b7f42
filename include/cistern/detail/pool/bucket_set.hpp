// bucket_set: the blocks of a pool for one thread: a list of free ones for each class, over one page heap.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/hot_list.hpp>
#include <cistern/detail/pool/page_heap.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// How memory moves:
///
///     upstream  <->  page heap  <->  spans of a class  ->  its hot list  <->  user
///                         ^                    ^--- sorting ---/
///                         '--- a class without a block in use leaves whole
///
/// Free blocks are sorted from a hot list into their spans only for a reason: the heap would have to grow, or
/// more is idle than may be. Both are done in steps, so that no call takes long. A span without a block out
/// joins the heap, and serves any size. Not thread-safe. `depot` is the counterpart for many threads.
///
/// Invariants, for each class: blocks out of its spans == blocks in use + blocks in its hot list.
class bucket_set {
 public:
  /// `options` in effect; they and `account` must outlive this.
  bucket_set(const pool_options& options, upstream_account& account) noexcept
      : options_(options), heap_(account) {}
  bucket_set(const bucket_set&) = delete;
  bucket_set& operator=(const bucket_set&) = delete;
  ~bucket_set() = default;

  /// For the fast paths; `index` below `cut_class_count`.
  [[nodiscard]] hot_list& operator[](unsigned index) noexcept { return hot_[index]; }

  /// A block of a class whose hot list, if it has one, is empty; null where `max_bytes` refuses. Passes on
  /// what upstream throws.
  [[nodiscard]] void* try_allocate(unsigned index);
  /// Takes a block back that the fast path didn't take.
  void deallocate(unsigned index, void* block) noexcept;

  /// Gives regions with no live block back until at most `keep_bytes` are idle. Returns the bytes given back.
  std::size_t trim(std::size_t keep_bytes) noexcept;
  /// Gives all memory back, blocks in use included.
  void release() noexcept;
  void add_to(pool_statistics& statistics) const;
  /// Aborts with a message when an invariant doesn't hold. O(free blocks): for tests.
  void check_invariants() const noexcept;

 private:
  /// What the fast paths don't touch of a class whose blocks are cut from spans.
  struct bucket {
    class_spans spans;
    std::uint64_t misses = 0;        ///< Allocations that took a block from a span.
    std::uint64_t released = 0;      ///< Blocks in use when `release` came.
    std::uint64_t last_use = 0;      ///< When a slow path of this class was last taken.
    std::size_t noted_blocks = 0;    ///< In the hot list, when it was last looked at.
    std::uint32_t batch_blocks = 0;  ///< What the last miss took.
  };
  /// The traffic of a class whose blocks are runs of pages.
  struct run_counts {
    std::uint64_t hits = 0;       ///< Allocations that found a run in the heap.
    std::uint64_t misses = 0;     ///< Those for which the heap had to grow.
    std::uint64_t returned = 0;   ///< Frees to the heap.
    std::uint64_t discarded = 0;  ///< Frees that went on to upstream at once.
    std::uint64_t released = 0;   ///< Blocks in use when `release` came.
    [[nodiscard]] std::uint64_t in_use() const noexcept {
      return hits + misses - returned - discarded - released;
    }
  };

  [[nodiscard]] static bool is_cut(unsigned index) noexcept { return index < cut_class_count; }
  [[nodiscard]] std::size_t in_use_blocks(unsigned index) const noexcept;
  [[nodiscard]] std::size_t listed_blocks(unsigned index) const noexcept {
    return buckets_[index].spans.out_blocks() - in_use_blocks(index);
  }

  [[nodiscard]] std::size_t in_use_bytes() const noexcept;

  [[nodiscard]] void* try_allocate_cut(unsigned index);
  [[nodiscard]] void* try_allocate_run(unsigned index);
  void deallocate_cut(unsigned index, void* block) noexcept;
  void deallocate_run(unsigned index, void* block) noexcept;

  [[nodiscard]] bool try_add_span(unsigned index);
  [[nodiscard]] bool try_add_small_span(unsigned index, std::size_t usual_blocks);
  [[nodiscard]] span* try_take_idle(std::uint32_t pages, std::uint32_t least_pages) noexcept;
  [[nodiscard]] span* try_take_grown(std::uint32_t pages, std::uint32_t least_pages);
  bool make_room(std::uint32_t pages) noexcept;
  bool give_back_idle() noexcept;

  void note(unsigned index) noexcept;
  void set_room(unsigned index) noexcept;
  void leave_whole(unsigned index) noexcept;
  void join_left(std::size_t most_spans) noexcept;
  std::size_t sort(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept;
  void sort_all() noexcept;
  [[nodiscard]] bool sort_for(std::uint32_t pages) noexcept;
  [[nodiscard]] bool is_over_budget() const noexcept { return idle_bytes() > options_.max_idle_bytes; }
  [[nodiscard]] std::size_t idle_bytes() const noexcept {
    return listed_bytes_ + left_bytes_ + heap_.idle_regions_bytes();
  }
  void settle() noexcept;
  /// A step is left over: spans that are on their way keep regions from being idle, so that they count too.
  [[nodiscard]] bool is_late() const noexcept {
    return !left_.empty() || next_stay_ != 0 ||
           (is_over_budget() && (heap_.idle_regions_bytes() != 0 || listing_ != 0));
  }
  void sort_stays() noexcept;
  template <class Less>
  [[nodiscard]] unsigned first_listing(Less less) const noexcept;

  const pool_options& options_;
  page_heap heap_;
  span_list left_;  ///< Spans that left their class whole, on their way to the heap.
  std::size_t left_bytes_ = 0;
  std::size_t listed_bytes_ = 0;       ///< Sum of what was noted.
  std::uint64_t now_ = 0;              ///< Slow paths so far.
  std::uint64_t stays_sorted_at_ = 0;  ///< When `sort_stays` last was through.
  unsigned next_stay_ = 0;             ///< Where it goes on.
  std::uint64_t listing_ = 0;  ///< A bit for each class with more in its hot list than its least stay.
  std::array<hot_list, cut_class_count> hot_{};
  std::array<bucket, cut_class_count> buckets_{};
  std::array<run_counts, class_count - cut_class_count> runs_{};
};

}  // namespace cistern::detail
