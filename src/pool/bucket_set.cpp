#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/pool/bucket_set.hpp>
#include <cistern/detail/pool/home_check.hpp>
#include <cistern/detail/pool/watched_blocks.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "broken_invariant.hpp"
#include "list_walk.hpp"

namespace cistern::detail {
namespace {

/// Frees of a class between two looks at what it keeps; of large blocks fewer, as so many may lie unseen.
constexpr std::size_t most_unseen_frees = 512;
constexpr std::size_t most_unseen_bytes = std::size_t{1} << 20;
constexpr std::int64_t frees_between_looks(unsigned index) noexcept {
  return static_cast<std::int64_t>(std::min(most_unseen_frees, most_unseen_bytes / class_block_bytes(index)));
}

}  // namespace

std::size_t bucket_set::in_use_blocks(unsigned index) const noexcept {
  const bucket& b = buckets_.used(index);
  return hot_[index].popped + b.misses - hot_[index].pushed() - b.released;
}

// ---- allocation ----

void* bucket_set::try_allocate(unsigned index) {
  return is_listed(index) ? try_allocate_listed(index) : try_allocate_run(index);
}

void* bucket_set::try_allocate_listed(unsigned index) {
  constexpr std::uint32_t first_batch_blocks = 4;  // a pool for a request may need no more
  constexpr std::uint32_t most_batch_blocks = 64;
  constexpr std::size_t most_batch_bytes = 8192;
  const std::size_t block_bytes = class_block_bytes(index);
  bucket& b = buckets_[index];
  if (!b.spans.has_block() && !try_add_span(index)) {
    return nullptr;
  }
  const auto fitting = static_cast<std::uint32_t>(std::max<std::size_t>(most_batch_bytes / block_bytes, 1));
  const std::uint32_t more = b.batch_blocks == 0 ? first_batch_blocks : 2 * b.batch_blocks;
  b.batch_blocks = std::min({more, fitting, most_batch_blocks});
  const magazine taken =
      lists_are_shut_ ? b.spans.take_watched(block_bytes) : b.spans.take(block_bytes, b.batch_blocks);
  ++b.misses;
  hot_[index].head = taken.head->next();
  supply_.listed().use(index);
  note(index);
  set_room(index);
  return taken.head->handed_out();
}

// True: the class has a block now, from a new span or from one that blocks were sorted into.
bool bucket_set::try_add_span(unsigned index) {
  class_spans& spans = buckets_.used(index).spans;
  span* const run = supply_.try_get(index, spans.next_span(index), [&] { return spans.has_block(); });
  if (run != nullptr) {
    spans.add(run, index, options_.max_blocks_per_chunk);
  }
  return spans.has_block();
}

void* bucket_set::try_allocate_run(unsigned index) {
  const auto pages = static_cast<std::uint32_t>(class_block_bytes(index) / page_bytes);
  run_class& runs = runs_[index - cached_class_count];
  if (void* const kept = runs.try_take(supply_.listed(), index); kept != nullptr) {
    return kept;
  }
  span* const run = supply_.try_take(pages, pages, [] { return false; });
  if (run == nullptr) {
    return nullptr;
  }
  runs.count_taken(run->is_new);
  run->index = static_cast<std::uint8_t>(index);
  return lists_are_shut_ ? run->base() : reinterpret_cast<free_block*>(run->base())->handed_out();
}

// ---- deallocation ----

void bucket_set::deallocate(unsigned index, void* block) noexcept {
  if (sees_every_free_) [[unlikely]] {
    if (lists_are_shut_) {
      return deallocate_watched(index, block);
    }
    free_block::expect_in_use(block);
    asan_unpoison(block, class_block_bytes(index));
    std::memset(block, 0, class_block_bytes(index));
  }
  std::size_t freed_blocks = 1;
  if (is_listed(index)) {
    freed_blocks = deallocate_listed(index, block);
  } else {
    deallocate_run(index, block);
  }
  supply_.settle(freed_blocks * class_block_bytes(index));
  if (is_listed(index)) {
    set_room(index);
  }
}

// Returns how many blocks were freed since the last look, this one included.
std::size_t bucket_set::deallocate_listed(unsigned index, void* block) noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  bucket& b = buckets_[index];
  hot_[index].push(block, block_bytes);
  const std::uint64_t pushed = hot_[index].pushed();
  const std::uint64_t freed_blocks = pushed - std::exchange(b.pushed_before, pushed);
  supply_.listed().use(index);
  if (in_use_blocks(index) == 0 && b.spans.bytes() >= least_leaving_bytes(index, options_)) {
    leave_whole(index);
  }
  note(index);
  if (listed_blocks_of(index) > options_.max_idle_blocks_per_bucket) {
    sort(index, options_.max_idle_blocks_per_bucket, SIZE_MAX);
  }
  return freed_blocks;
}

void bucket_set::deallocate_run(unsigned index, void* block) noexcept {
  if constexpr (hardened_build) {
    expect_run(index, block, supply_);
    if (!lists_are_shut_) {
      free_block::expect_in_use(block);
    }
  }
  asan_poison(block, class_block_bytes(index));  // what goes to the heap as well
  run_class& runs = runs_[index - cached_class_count];
  if (!runs.try_keep(block, most_kept_runs(options_, index), supply_.listed(), index)) {
    supply_.give(supply_.span_of(block));
  }
}

// Straight back to its run, past the list, from which a fast path would take it.
void bucket_set::deallocate_watched(unsigned index, void* block) noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  span* const home = find_watched(supply_, index, block, [&](const span& in) {
    return class_spans::is_out(block, class_block_bytes(in.index), in);
  });
  if (home == nullptr) {
    return;
  }
  if (options_.zero_on_free) {
    allow_access(block, block_bytes);
    std::memset(block, 0, block_bytes);
  }
  if (!is_listed(index)) {
    forbid_access(block, block_bytes);
    supply_.give(home);
    runs_[index - cached_class_count].count_returned();
  } else {
    if (buckets_[index].spans.put_watched(block, block_bytes, home)) {
      supply_.give(home);
    }
    ++hot_[index].pushed_and_room;
    note(index);
  }
  supply_.settle(block_bytes);
}

void bucket_set::note(unsigned index) noexcept {
  const class_spans& spans = buckets_.used(index).spans;
  const std::size_t listed = listed_blocks_of(index);
  const std::size_t in_use = in_use_blocks(index);
  const std::size_t beside = spans.bytes() - spans.out_blocks() * class_block_bytes(index);
  supply_.listed().note(index, listed, in_use, hot_[index].head, beside);
}

// How many frees of a class may go by unseen: to the next look, to the last block in use where the class is
// large enough to be given up whole, and to the bound of what it may keep.
void bucket_set::set_room(unsigned index) noexcept {
  const bucket& b = buckets_.used(index);
  std::int64_t room = frees_between_looks(index);
  if (supply_.is_late()) {
    room = std::min<std::int64_t>(room, late_look_frees);
  }
  if (b.spans.bytes() >= least_leaving_bytes(index, options_)) {
    const auto in_use = static_cast<std::int64_t>(in_use_blocks(index));
    room = std::min(room, std::max<std::int64_t>(in_use - 1, 0));
  }
  const std::size_t most_blocks = options_.max_idle_blocks_per_bucket;
  const std::size_t more_blocks = most_blocks - std::min(most_blocks, listed_blocks_of(index));
  room = more_blocks < static_cast<std::size_t>(room) ? static_cast<std::int64_t>(more_blocks) : room;
  const bool is_served = class_block_bytes(index) <= options_.largest_required_pool_block;
  hot_[index].set_room(is_served && !sees_every_free_ && !options_.pass_through ? room : 0);
}

// No block of the class is in use: neither its hot list nor its spans need a look. The next blocks come in
// order of address again, where the list has them in the order they were freed in, which after a random
// tear-down costs a cache miss for each.
void bucket_set::leave_whole(unsigned index) noexcept {
  bucket& b = buckets_[index];
  const std::size_t bytes = b.spans.bytes();
  span_list left;
  b.spans.leave_to(left);
  hot_[index].head = nullptr;
  supply_.give_left(left, bytes);
}

// ---- sorting ----

// Puts blocks of a hot list back into their spans, until `keep_blocks` are left. Returns how many.
// Several at a time, so that their spans' records are fetched together.
sorted_blocks bucket_set::sort(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept {
  constexpr std::size_t most_together = 16;
  if (!is_listed(index)) {
    return sort_runs(index, keep_blocks, most_blocks);
  }
  if (buckets_.find(index) == nullptr) {
    return {};
  }
  bucket& b = buckets_[index];
  free_block*& head = hot_[index].head;
  const std::size_t listed = listed_blocks_of(index);
  const std::size_t wanted = std::min(listed - std::min(listed, keep_blocks), most_blocks);
  sorted_blocks sorted;
  const span* last_home = nullptr;
  span_list emptied;
  list_walk walk;
  while (sorted.blocks < wanted) {
    std::array<free_block*, most_together> blocks;
    std::array<span*, most_together> homes;
    const std::size_t together = std::min(wanted - sorted.blocks, most_together);
    for (std::size_t i = 0; i < together; ++i) {
      blocks[i] = head;
      head = walk.after(head);
    }
    supply_.find_spans(blocks, together, homes);
    for (std::size_t i = 0; i < together; ++i) {
      expect_home(index, blocks[i], homes[i]);
      sorted.count(std::exchange(last_home, homes[i]) != homes[i]);
      if (b.spans.put(blocks[i], homes[i])) {
        emptied.push(homes[i]);
      }
    }
  }
  supply_.give(emptied);
  note(index);
  set_room(index);
  return sorted;
}

sorted_blocks bucket_set::sort_runs(unsigned index, std::size_t keep_blocks,
                                    std::size_t most_blocks) noexcept {
  run_class* const runs = runs_.find(index - cached_class_count);
  sorted_blocks sorted;
  while (runs != nullptr && sorted.blocks < most_blocks && runs->kept_blocks() > keep_blocks) {
    supply_.give(supply_.span_of(runs->take_kept(supply_.listed(), index)));
    sorted.count(true);
  }
  return sorted;
}

std::size_t bucket_set::discard(unsigned index) noexcept {
  std::size_t bytes = 0;
  const span* first = nullptr;
  if (bucket* const b = buckets_.find(index); b != nullptr && !lists_are_shut_) {
    b->spans.discard(class_block_bytes(index), SIZE_MAX, first, bytes);
  }
  return bytes;
}

// ---- the whole ----

std::size_t bucket_set::trim(std::size_t keep_bytes) noexcept {
  const std::size_t in_use = in_use_bytes();
  const std::size_t most_bytes = keep_bytes < SIZE_MAX - in_use ? in_use + keep_bytes : SIZE_MAX;
  if (supply_.pages_bytes() <= most_bytes) {
    return 0;
  }
  const std::size_t held_before = supply_.held_bytes();
  supply_.shrink(most_bytes);
  return held_before - supply_.held_bytes();
}

void bucket_set::release() noexcept {
  for (unsigned index = 0; index < cached_class_count; ++index) {
    if (bucket* const b = buckets_.find(index); b != nullptr) {
      b->released += in_use_blocks(index);
      b->spans = {};
      b->batch_blocks = 0;
      hot_[index].head = nullptr;
      note(index);
      set_room(index);
    }
  }
  for (unsigned index = cached_class_count; index < class_count; ++index) {
    if (run_class* const runs = runs_.find(index - cached_class_count); runs != nullptr) {
      runs->release(supply_.listed(), index);
    }
  }
  supply_.release();
}

std::size_t bucket_set::in_use_bytes() const noexcept {
  std::size_t bytes = 0;
  for (unsigned index = 0; index < cached_class_count; ++index) {
    if (buckets_.find(index) != nullptr) {
      bytes += in_use_blocks(index) * class_block_bytes(index);
    }
  }
  for (unsigned index = cached_class_count; index < class_count; ++index) {
    if (const run_class* const runs = runs_.find(index - cached_class_count); runs != nullptr) {
      bytes += runs->in_use() * class_block_bytes(index);
    }
  }
  return bytes;
}

void bucket_set::add_to(pool_statistics& statistics) const {
  const auto add = [&](unsigned index, bucket_statistics row) {
    row.block_bytes = class_block_bytes(index);
    if (!options_.count_operations) {
      row.hits = row.returned = 0;
    }
    statistics.buckets.push_back(row);
  };
  for (unsigned index = 0; index < cached_class_count; ++index) {
    if (const bucket* const b = buckets_.find(index); b != nullptr && b->misses != 0) {
      const std::size_t in_use = in_use_blocks(index);
      statistics.idle_in_lists_bytes += listed_blocks_of(index) * class_block_bytes(index);
      statistics.idle_in_spans_bytes += b->spans.bytes() - b->spans.out_blocks() * class_block_bytes(index);
      add(index, {.hits = hot_[index].popped,
                  .misses = b->misses,
                  .returned = hot_[index].pushed(),
                  .depth = b->spans.carved_blocks() - in_use,
                  .live_blocks = in_use});
    }
  }
  for (unsigned index = cached_class_count; index < class_count; ++index) {
    if (const run_class* const runs = runs_.find(index - cached_class_count);
        runs != nullptr && runs->hits + runs->misses != 0) {
      statistics.idle_in_lists_bytes += runs->kept_blocks() * class_block_bytes(index);
      add(index, runs->row());
    }
  }
  const std::size_t in_use = in_use_bytes();
  statistics.in_use_bytes += in_use;
  statistics.idle_bytes += supply_.pages_bytes() - in_use;
  supply_.add_to(statistics);
}

void bucket_set::check_invariants() const noexcept {
  supply_.check_invariants();
  for (unsigned index = 0; index < cached_class_count; ++index) {
    const bucket* const b = buckets_.find(index);
    if (b == nullptr) {
      continue;
    }
    b->spans.check_invariants(index);
    std::size_t listed = 0;
    for (const free_block* block = hot_[index].head; block != nullptr; block = block->next()) {
      ++listed;
      if (const span* const home = supply_.find(block); home == nullptr || home->index != index) {
        broken_invariant("blocks", class_block_bytes(index), "a free block is in no span of its class");
      }
    }
    if (listed != listed_blocks_of(index)) {
      broken_invariant("blocks", class_block_bytes(index), "the hot list is not as long as the counts say");
    }
  }
}

}  // namespace cistern::detail
