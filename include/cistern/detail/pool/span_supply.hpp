// span_supply: where classes of blocks get their spans from.
#pragma once

#include <cistern/detail/base/no_lock.hpp>
#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/detail/pool/guarded_heap.hpp>
#include <cistern/detail/pool/idle_policy.hpp>
#include <cistern/detail/pool/listed_blocks.hpp>
#include <cistern/detail/pool/sorted_blocks.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

namespace cistern::detail {

/// The page heap of a pool, and what lies in lists. How memory moves:
///
///     upstream  <->  page heap  <->  spans of a class  ->  lists of free blocks  <->  users
///                         ^                    ^--- sorting ---/
///                         '--- a class without a block in use leaves whole
///
/// Free blocks are sorted from lists into their spans only for a reason: the heap would have to grow, or more
/// is idle than may be. Both are done in steps, so that no call takes long. A span without a block out joins
/// the heap, and serves any size.
///
/// `Sorter` has the lists: `sort(index, keep_blocks, most_blocks)` puts up to `most_blocks` of a class back
/// into their spans, until its list has `keep_blocks`, and returns how many; `discard(index)` takes the
/// memory of free pages between a class's blocks away, and returns the bytes; `flush_caches()` asks those who
/// keep blocks for themselves to hand them over, and returns whether there are any. Called with no lock held.
/// `Lock`: `reentrant_mutex`, or `no_lock`. Upstream is called with it held, and may call back.
template <class Sorter, class Lock>
class span_supply {
 public:
  span_supply(const pool_options& options, upstream_account& account, Sorter& sorter) noexcept
      : options_(options),
        sorter_(sorter),
        discards_(account.gives_pages() || account.is_new_delete()),
        gives_pages_only_(account.source() != nullptr),
        heap_(account),
        listed_(!std::is_same_v<Lock, no_lock>),
        idle_(options, sorter, heap_, listed_, account.gives_pages(), discards_) {}
  span_supply(const span_supply&) = delete;
  span_supply& operator=(const span_supply&) = delete;
  ~span_supply() = default;

  // `alignment`, everywhere: see `page_heap::try_take`.

  /// A run of `pages`, or of `least_pages` at worst. Null where `has_block()`: the class that wants the run
  /// has got blocks of its own back meanwhile; or where `max_bytes` refuses. Passes on what upstream throws.
  template <class HasBlock>
  [[nodiscard]] span* try_take(std::uint32_t pages, std::uint32_t least_pages, HasBlock has_block,
                               std::size_t alignment = page_bytes);
  /// A span as wanted for a class, or of less; of at most `max_blocks_per_chunk` blocks, if that is set.
  /// Null where `has_block()`, and what is thrown: as `try_take`.
  template <class HasBlock>
  [[nodiscard]] span* try_get(unsigned index, span_wish wanted, HasBlock has_block);
  /// See `page_heap::try_take_alone`.
  [[nodiscard]] span* try_take_alone(std::size_t block_bytes, std::size_t blocks, std::size_t alignment) {
    return heap_.try_take_alone(block_bytes, blocks, alignment);
  }
  /// The same, and if it is refused once more after `make_room`. Null and `has_block`: as `try_take`.
  template <class HasBlock>
  [[nodiscard]] span* try_take_alone(std::size_t block_bytes, std::size_t blocks, std::size_t alignment,
                                     HasBlock has_block);
  /// One that is idle already, or null.
  [[nodiscard]] span* try_take_idle(std::uint32_t pages, std::uint32_t least_pages,
                                    std::size_t alignment = page_bytes) noexcept {
    return heap_.try_take(pages, least_pages, alignment, listed_.now());
  }
  /// See `page_heap::try_resize`.
  [[nodiscard]] bool try_resize(span* run, std::uint32_t pages) noexcept {
    return heap_.try_resize(run, pages, listed_.now());
  }

  /// Takes back the runs of a list. O(runs).
  void give(span_list& runs) noexcept {
    if (!runs.empty()) {
      heap_.give(runs, listed_.now());
    }
  }
  void give(span* run) noexcept { heap_.give(run, listed_.now()); }
  /// Takes back spans that left their class whole, of so many bytes. O(1): they join the heap in steps.
  void give_left(span_list& spans, std::size_t bytes) noexcept { heap_.give_left(spans, bytes); }
  /// See `guarded_heap`.
  template <std::size_t Most>
  void find_spans(const std::array<free_block*, Most>& blocks, std::size_t count,
                  std::array<span*, Most>& spans) noexcept {
    heap_.find_spans(blocks, count, spans);
  }
  [[nodiscard]] span* span_of(const void* block) noexcept { return heap_.span_of(block); }
  [[nodiscard]] span* span_at(const void* address) noexcept { return heap_.span_at(address); }
  [[nodiscard]] span* find(const void* address) const noexcept { return heap_.find(address); }
  [[nodiscard]] bool is_run_in_use(unsigned index, const void* block) const noexcept {
    return heap_.is_run_in_use(index, block);
  }

  /// What of each class lies in lists.
  [[nodiscard]] listed_blocks& listed() noexcept { return listed_; }
  [[nodiscard]] const listed_blocks& listed() const noexcept { return listed_; }
  /// See `idle_policy`.
  void settle(std::size_t freed_bytes) noexcept { idle_.settle(freed_bytes); }
  void settle_to(std::size_t most_bytes) noexcept { idle_.settle_to(most_bytes); }
  [[nodiscard]] bool is_late() const noexcept { return idle_.is_late(); }
  [[nodiscard]] bool sorts_all() const noexcept { return idle_.sorts_all(); }
  /// Sorts all there is and gives idle regions back until at most `most_bytes` of pages are held.
  void shrink(std::size_t most_bytes) noexcept;
  /// Before a request is refused. True: a run of `pages` is there now, or upstream has more than before.
  bool make_room(std::uint32_t pages, std::size_t alignment = page_bytes) noexcept;
  /// Gives every region back, whatever is in use.
  void release() noexcept { heap_.release(); }

  [[nodiscard]] std::size_t pages_bytes() const noexcept { return heap_.pages_bytes(); }
  [[nodiscard]] std::size_t held_bytes() const noexcept { return heap_.held_bytes(); }
  /// Adds what is known here: idle pages and regions, records, and what was given back.
  void add_to(pool_statistics& statistics) const noexcept { heap_.add_to(statistics); }
  void check_invariants() const noexcept { heap_.check_invariants(); }
  /// See `guarded_heap`.
  [[nodiscard]] Lock& lock() const noexcept CISTERN_RETURN_CAPABILITY(heap_.lock()) { return heap_.lock(); }

 private:
  using reason = typename guarded_heap<Lock>::reason;
  template <class HasBlock>
  [[nodiscard]] bool sort_for(std::uint32_t pages, std::size_t alignment, HasBlock has_block) noexcept;
  template <class HasBlock>
  [[nodiscard]] bool sort_near(std::uint32_t pages, std::size_t alignment, HasBlock has_block) noexcept;
  void sort_all() noexcept;

  const pool_options& options_;
  Sorter& sorter_;
  const bool discards_;  ///< Shrinking takes memory away from free pages, as it is the system's in the end.
  const bool gives_pages_only_;  ///< A `chunk_source`, not an upstream.
  guarded_heap<Lock> heap_;
  listed_blocks listed_;
  idle_policy<Sorter, Lock> idle_;
};

template <class Sorter, class Lock>
template <class HasBlock>
span* span_supply<Sorter, Lock>::try_take(std::uint32_t pages, std::uint32_t least_pages, HasBlock has_block,
                                          std::size_t alignment) {
  if (sort_near(pages, alignment, has_block) && has_block()) {
    return nullptr;
  }
  if (span* const run = try_take_idle(pages, least_pages, alignment); run != nullptr) {
    return run;
  }
  if (sort_for(pages, alignment, has_block)) {
    if (has_block()) {
      return nullptr;
    }
    if (span* const run = try_take_idle(pages, least_pages, alignment); run != nullptr) {
      return run;
    }
  }
  // A run of `least_pages` has one block at least.
  const std::size_t most_pages = options_.max_blocks_per_chunk * std::size_t{least_pages};
  bool grown = false;
  const auto try_grow = [&] {
    span* const run = heap_.try_grow(pages, least_pages, alignment, most_pages, listed_.now(), grown);
    if (grown) {
      idle_.grew();
    }
    return run;
  };
  if (heap_.may_grow() || !make_room(least_pages, alignment)) {
    try {
      if (span* const run = try_grow(); run != nullptr) {
        return run;
      }
      if (!grown && !make_room(least_pages, alignment)) {
        return nullptr;
      }
    } catch (const std::bad_alloc&) {
      if (!make_room(least_pages, alignment)) {  // else what lay idle may be what upstream missed
        throw;
      }
    }
  }
  if (has_block()) {
    return nullptr;
  }
  span* const run = try_take_idle(pages, least_pages, alignment);
  return run != nullptr ? run : try_grow();
}

template <class Sorter, class Lock>
template <class HasBlock>
span* span_supply<Sorter, Lock>::try_get(unsigned index, span_wish wanted, HasBlock has_block) {
  const std::size_t block_bytes = class_block_bytes(index);
  const std::size_t alignment = class_alignment(index);
  if (options_.max_blocks_per_chunk < most_blocks_per_chunk) {
    const std::size_t fitting_blocks = std::max<std::size_t>(wanted.pages * page_bytes / block_bytes, 1);
    const std::size_t blocks = std::min(options_.max_blocks_per_chunk, fitting_blocks);
    return try_take_alone(block_bytes, blocks, alignment, has_block);
  }
  if (span* const small = heap_.try_take_small(block_bytes, wanted.small_blocks, alignment)) {
    return small;
  }
  const auto take_few = [&] { return try_take_alone(block_bytes, few_blocks(block_bytes), alignment); };
  try {
    span* const run = try_take(wanted.pages, class_spans::least_span_pages(index), has_block, alignment);
    return run == nullptr && !has_block() && !gives_pages_only_ ? take_few() : run;
  } catch (const std::bad_alloc&) {
    return has_block() ? nullptr : take_few();  // less may still be had
  }
}

template <class Sorter, class Lock>
template <class HasBlock>
span* span_supply<Sorter, Lock>::try_take_alone(std::size_t block_bytes, std::size_t blocks,
                                                std::size_t alignment, HasBlock has_block) {
  try {
    if (span* const run = try_take_alone(block_bytes, blocks, alignment); run != nullptr) {
      return run;
    }
    if (!make_room(UINT32_MAX)) {
      return nullptr;
    }
  } catch (const std::bad_alloc&) {
    if (!make_room(UINT32_MAX) && !has_block()) {
      throw;
    }
  }
  return has_block() ? nullptr : try_take_alone(block_bytes, blocks, alignment);
}

// Pages that nobody has touched yet cost as much as growth does. So before they are taken, blocks that were
// freed in order are sorted, which costs little. True: there is a run of other pages now, or a block.
template <class Sorter, class Lock>
template <class HasBlock>
bool span_supply<Sorter, Lock>::sort_near(std::uint32_t pages, std::size_t alignment,
                                          HasBlock has_block) noexcept {
  constexpr std::size_t sorted_between_looks = 32;
  std::size_t effort = sorting_effort_for(pages);
  while (!heap_.has_used_run(pages, alignment) && !has_block()) {
    const unsigned index = effort > 0 ? listed_.largest_ripe() : listed_blocks::none;
    if (index == listed_blocks::none) {
      return false;
    }
    effort = idle_.sort_some(index, std::min(effort, sorted_between_looks), effort).lay_near() ? effort : 0;
  }
  return true;
}

// Before the heap grows: sorts blocks of those classes that have most, about as long as the growth would
// take, and then of each class whose blocks are runs the one at hand. True: there is a run of `pages` now, or
// a block.
template <class Sorter, class Lock>
template <class HasBlock>
bool span_supply<Sorter, Lock>::sort_for(std::uint32_t pages, std::size_t alignment,
                                         HasBlock has_block) noexcept {
  constexpr std::size_t sorted_between_looks = 128;
  std::size_t effort = sorting_effort_for(pages);
  for (unsigned index = listed_.largest(); effort > 0 && index != listed_blocks::none;
       index = listed_.largest()) {
    idle_.sort_some(index, std::min(effort, sorted_between_looks), effort);
    if (heap_.has_run(pages, alignment) || has_block()) {
      return true;
    }
  }
  for (unsigned index = cut_class_count; index < listed_blocks::most_classes; ++index) {
    if (listed_.bytes_of(index) != 0 && sorter_.sort(index, 0, 1).blocks != 0 &&
        heap_.has_run(pages, alignment)) {
      return true;
    }
  }
  return false;
}

template <class Sorter, class Lock>
void span_supply<Sorter, Lock>::sort_all() noexcept {
  heap_.join_left(SIZE_MAX, listed_.now());
  for (unsigned index = 0; index < listed_blocks::most_classes; ++index) {
    while (sorter_.sort(index, 0, most_sorting_effort).blocks != 0) {
    }
  }
}

template <class Sorter, class Lock>
bool span_supply<Sorter, Lock>::make_room(std::uint32_t pages, std::size_t alignment) noexcept {
  const std::size_t held_before = held_bytes();
  sort_all();
  if (heap_.has_run(pages, alignment)) {
    return true;
  }
  heap_.give_back_for_need();
  // Runs of their own went back when they were sorted, or are kept.
  return held_bytes() < held_before || heap_.has_kept_alone();
}

template <class Sorter, class Lock>
void span_supply<Sorter, Lock>::shrink(std::size_t most_bytes) noexcept {
  sort_all();
  heap_.give_back(reason::trim, most_bytes);
  if (discards_ && pages_bytes() > most_bytes) {
    heap_.discard_all();
    for (unsigned index = 0; index < cut_class_count; ++index) {
      heap_.add_discarded(sorter_.discard(index));
    }
  }
}

}  // namespace cistern::detail
