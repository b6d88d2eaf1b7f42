// bucket_set: the blocks of a pool for one thread: a list of free ones for each class, over one page heap.
#pragma once

#include <cistern/detail/base/no_lock.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/hot_list.hpp>
#include <cistern/detail/pool/lazy_array.hpp>
#include <cistern/detail/pool/magazine.hpp>
#include <cistern/detail/pool/run_class.hpp>
#include <cistern/detail/pool/span_supply.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Not thread-safe. `depot` is the counterpart for many threads.
///
/// Invariant, for each class: blocks out of its spans == blocks in use + blocks in its hot list.
class bucket_set {
 public:
  /// `options` in effect; they and `account` must outlive this.
  bucket_set(const pool_options& options, upstream_account& account) noexcept
      : options_(options),
        lists_are_shut_(account.lists_are_shut()),
        sees_every_free_(options.zero_on_free || lists_are_shut_),
        supply_(options, account, *this) {
    know_seals();
  }
  bucket_set(const bucket_set&) = delete;
  bucket_set& operator=(const bucket_set&) = delete;
  ~bucket_set() = default;

  /// For the fast paths; `index` below `cached_class_count`.
  [[nodiscard]] hot_list& operator[](unsigned index) noexcept { return hot_[index]; }
  [[nodiscard]] hot_list& at(class_place place) noexcept {
    static_assert(sizeof(hot_list) == class_place_scale);
    return *reinterpret_cast<hot_list*>(reinterpret_cast<std::byte*>(hot_.data()) +
                                        static_cast<std::size_t>(place));
  }

  /// A block of a class whose hot list, if it has one, is empty; null where `max_bytes` refuses. Passes on
  /// what upstream throws.
  [[nodiscard]] void* try_allocate(unsigned index);
  /// Takes a block back that the fast path didn't take.
  void deallocate(unsigned index, void* block) noexcept;

  /// Gives regions with no live block back until at most `keep_bytes` are idle. Returns the bytes given back.
  std::size_t trim(std::size_t keep_bytes) noexcept;
  /// Gives back what is idle for a request that was refused. False: there was nothing, or it can't help.
  [[nodiscard]] bool make_room() noexcept { return supply_.make_room(UINT32_MAX); }
  /// Gives all memory back, blocks in use included.
  void release() noexcept;
  void add_to(pool_statistics& statistics) const;
  /// Aborts with a message when an invariant doesn't hold. O(free blocks): for tests.
  void check_invariants() const noexcept;

  // For `span_supply`.
  sorted_blocks sort(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept;
  std::size_t discard(unsigned index) noexcept;
  static bool flush_caches() noexcept { return false; }

 private:
  /// What the fast paths don't touch of a class with a hot list.
  struct bucket {
    class_spans spans;
    std::uint64_t misses = 0;         ///< Allocations that took a block from a span.
    std::uint64_t released = 0;       ///< Blocks in use when `release` came.
    std::uint64_t pushed_before = 0;  ///< Frees when somebody last had a look.
    std::uint32_t batch_blocks = 0;   ///< What the last miss took.
  };
  [[nodiscard]] static bool is_listed(unsigned index) noexcept { return index < cached_class_count; }

  // Of a class that was used:

  [[nodiscard]] std::size_t in_use_blocks(unsigned index) const noexcept;
  [[nodiscard]] std::size_t listed_blocks_of(unsigned index) const noexcept {
    return buckets_.used(index).spans.out_blocks() - in_use_blocks(index);
  }
  [[nodiscard]] std::size_t in_use_bytes() const noexcept;

  [[nodiscard]] void* try_allocate_listed(unsigned index);
  [[nodiscard]] void* try_allocate_run(unsigned index);
  [[nodiscard]] std::size_t deallocate_listed(unsigned index, void* block) noexcept;
  void deallocate_run(unsigned index, void* block) noexcept;

  [[nodiscard]] bool try_add_span(unsigned index);
  void note(unsigned index) noexcept;
  void set_room(unsigned index) noexcept;
  void leave_whole(unsigned index) noexcept;
  sorted_blocks sort_runs(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept;
  void deallocate_watched(unsigned index, void* block) noexcept;

  const pool_options& options_;
  const bool lists_are_shut_;
  const bool sees_every_free_;
  span_supply<bucket_set, no_lock> supply_;
  std::array<hot_list, cached_class_count> hot_{};
  lazy_array<bucket, cached_class_count, no_lock> buckets_;
  lazy_array<run_class, class_count - cached_class_count, no_lock> runs_;
};

}  // namespace cistern::detail
