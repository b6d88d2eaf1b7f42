#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/pool/bucket_set.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace cistern::detail {
namespace {

/// Frees of a class between two looks at what it keeps; of large blocks fewer, as so many may lie unseen.
constexpr std::size_t most_unseen_frees = 512;
constexpr std::size_t most_unseen_bytes = std::size_t{1} << 20;
/// The same while more is idle than may be, and the last look didn't get through with it.
constexpr std::int64_t late_look_frees = 32;
/// Slow paths from one time that least stays are sorted to the next.
constexpr std::uint64_t stays_sorted_every = 64;
/// A class with less memory than this isn't worth giving up whole: it lies in the processor's cache.
constexpr std::size_t least_leaving_bytes = std::size_t{256} << 10;
/// What a hot list may keep whatever `max_idle_bytes` says: a class that is in use must not pay for others.
constexpr std::size_t least_stay_bytes = std::size_t{64} << 10;
/// Blocks that one call sorts at most: some tens of microseconds, where each is a cache miss.
constexpr std::size_t most_sorted_at_once = 1024;
/// Sorting a block takes about a 24th of what touching a new page takes.
constexpr std::size_t sorted_per_page = 24;
constexpr std::size_t joined_at_once = 64;

constexpr std::size_t stay_blocks(unsigned index) noexcept {
  return std::max<std::size_t>(least_stay_bytes / class_block_bytes(index), 2);
}

constexpr std::int64_t frees_between_looks(unsigned index) noexcept {
  return static_cast<std::int64_t>(std::min(most_unseen_frees, most_unseen_bytes / class_block_bytes(index)));
}

[[noreturn]] void broken(const char* what, unsigned index) noexcept {
  std::fprintf(stderr, "cistern: blocks of %zu bytes: %s\n", class_block_bytes(index), what);
  std::abort();
}

}  // namespace

std::size_t bucket_set::in_use_blocks(unsigned index) const noexcept {
  const bucket& b = buckets_[index];
  return hot_[index].popped + b.misses - hot_[index].pushed() - b.released;
}

// ---- allocation ----

void* bucket_set::try_allocate(unsigned index) {
  ++now_;
  return is_cut(index) ? try_allocate_cut(index) : try_allocate_run(index);
}

void* bucket_set::try_allocate_cut(unsigned index) {
  constexpr std::uint32_t first_batch_blocks = 16;
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
  const magazine taken = b.spans.take(block_bytes, b.batch_blocks);
  ++b.misses;
  hot_[index].head = taken.head->next();
  b.last_use = now_;
  note(index);
  set_room(index);
  return taken.head;
}

// True: the class has a block now, from a new span or from one that blocks were sorted into.
bool bucket_set::try_add_span(unsigned index) {
  bucket& b = buckets_[index];
  const std::uint32_t least_pages = class_spans::least_span_pages(index);
  const std::uint32_t pages = b.spans.next_span_pages(index);
  const auto add = [&](span* run) {
    if (run != nullptr && !b.spans.has_block()) {
      b.spans.add(run, index, options_.max_blocks_per_chunk);
    } else if (run != nullptr) {
      heap_.give(run, now_);
    }
    return b.spans.has_block();
  };
  const auto add_alone = [&] {
    return add(heap_.try_take_alone(class_block_bytes(index), class_alignment(index)));
  };
  if (options_.max_blocks_per_chunk < most_blocks_per_chunk) {
    return try_add_small_span(index, pages * page_bytes / class_block_bytes(index));
  }
  if (add(try_take_idle(pages, least_pages))) {
    return true;
  }
  if (sort_for(pages) || b.spans.has_block()) {
    return add(b.spans.has_block() ? nullptr : try_take_idle(pages, least_pages));
  }
  try {
    return add(try_take_grown(pages, least_pages)) || add_alone();
  } catch (const std::bad_alloc&) {
    return b.spans.has_block() || add_alone();
  }
}

// A span alone, of as many blocks as a chunk may have, or of one where upstream or `max_bytes` refuses more.
bool bucket_set::try_add_small_span(unsigned index, std::size_t usual_blocks) {
  class_spans& spans = buckets_[index].spans;
  const auto add = [&](std::size_t blocks) {
    span* const run = heap_.try_take_alone(blocks * class_block_bytes(index), class_alignment(index));
    if (run != nullptr) {
      spans.add(run, index, options_.max_blocks_per_chunk);
    }
    return run != nullptr;
  };
  for (const std::size_t blocks : {std::min(options_.max_blocks_per_chunk, usual_blocks), std::size_t{1}}) {
    try {
      if (add(blocks)) {
        return true;
      }
    } catch (const std::bad_alloc&) {  // what lies idle may be what upstream misses
    }
  }
  sort_all();
  give_back_idle();
  return spans.has_block() || add(1);
}

void* bucket_set::try_allocate_run(unsigned index) {
  const auto pages = static_cast<std::uint32_t>(class_block_bytes(index) / page_bytes);
  run_counts& counts = runs_[index - cut_class_count];
  span* run = try_take_idle(pages, pages);
  if (run == nullptr && sort_for(pages)) {
    run = try_take_idle(pages, pages);
  }
  if (run != nullptr) {
    ++counts.hits;
  } else {
    run = try_take_grown(pages, pages);
    if (run == nullptr) {
      return nullptr;
    }
    ++counts.misses;
  }
  run->index = static_cast<std::uint8_t>(index);
  return run->base();
}

span* bucket_set::try_take_idle(std::uint32_t pages, std::uint32_t least_pages) noexcept {
  span* run = heap_.try_take(pages);
  while (run == nullptr && !left_.empty()) {
    join_left(joined_at_once);
    run = heap_.try_take(pages);
  }
  return run == nullptr && least_pages < pages ? heap_.try_take(least_pages) : run;
}

span* bucket_set::try_take_grown(std::uint32_t pages, std::uint32_t least_pages) {
  try {
    if (heap_.grow(least_pages)) {
      return try_take_idle(pages, least_pages);
    }
    if (!make_room(least_pages)) {
      return nullptr;
    }
  } catch (const std::bad_alloc&) {
    if (!make_room(least_pages)) {  // else what lay idle may be what upstream missed
      throw;
    }
  }
  span* const run = try_take_idle(pages, least_pages);
  return run == nullptr && heap_.grow(least_pages) ? try_take_idle(pages, least_pages) : run;
}

// Before a request is refused. True: there is a run now, or upstream has more than before.
bool bucket_set::make_room(std::uint32_t pages) noexcept {
  sort_all();
  if (span* const run = heap_.try_take(pages); run != nullptr) {
    heap_.give(run, now_);
    return true;
  }
  return give_back_idle();
}

bool bucket_set::give_back_idle() noexcept {
  const bool has_any = heap_.idle_regions_bytes() != 0;
  while (heap_.give_back_oldest() != 0) {
  }
  return has_any;
}

// ---- deallocation ----

void bucket_set::deallocate(unsigned index, void* block) noexcept {
  ++now_;
  if (options_.zero_on_free) {
    asan_unpoison(block, class_block_bytes(index));
    std::memset(block, 0, class_block_bytes(index));
  }
  if (is_cut(index)) {
    deallocate_cut(index, block);
  } else {
    deallocate_run(index, block);
  }
  if (!left_.empty()) {
    join_left(joined_at_once);
  }
  if (next_stay_ != 0 || now_ - stays_sorted_at_ >= stays_sorted_every) {
    sort_stays();
  }
  if (is_over_budget()) {
    settle();
  }
  if (is_cut(index)) {
    set_room(index);
  }
}

void bucket_set::deallocate_cut(unsigned index, void* block) noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  bucket& b = buckets_[index];
  hot_[index].push(block, block_bytes);
  b.last_use = now_;
  if (in_use_blocks(index) == 0 && b.spans.bytes() >= least_leaving_bytes) {
    leave_whole(index);
  }
  note(index);
  if (b.noted_blocks > options_.max_idle_blocks_per_bucket) {
    sort(index, options_.max_idle_blocks_per_bucket, most_sorted_at_once);
  }
}

void bucket_set::deallocate_run(unsigned index, void* block) noexcept {
  run_counts& counts = runs_[index - cut_class_count];
  asan_poison(block, class_block_bytes(index));
  heap_.give(heap_.span_of(block), now_);
  ++counts.returned;
}

// Remembers how long the hot list is: sums are made of what is remembered.
void bucket_set::note(unsigned index) noexcept {
  bucket& b = buckets_[index];
  const std::size_t blocks = listed_blocks(index);
  const std::size_t block_bytes = class_block_bytes(index);
  listed_bytes_ = listed_bytes_ + blocks * block_bytes - b.noted_blocks * block_bytes;
  b.noted_blocks = blocks;
  const std::uint64_t bit = std::uint64_t{1} << index;
  listing_ = blocks > stay_blocks(index) ? listing_ | bit : listing_ & ~bit;
}

// How many frees of a class may go by unseen: to the next look, to the last block in use where the class is
// large enough to be given up whole, and to the bound of what it may keep.
void bucket_set::set_room(unsigned index) noexcept {
  const bucket& b = buckets_[index];
  std::int64_t room = frees_between_looks(index);
  if (is_late()) {
    room = std::min(room, late_look_frees);
  }
  if (b.spans.bytes() >= least_leaving_bytes) {
    const auto in_use = static_cast<std::int64_t>(in_use_blocks(index));
    room = std::min(room, std::max<std::int64_t>(in_use - 1, 0));
  }
  const std::size_t most_blocks = options_.max_idle_blocks_per_bucket;
  const std::size_t more_blocks = most_blocks - std::min(most_blocks, b.noted_blocks);
  room = more_blocks < static_cast<std::size_t>(room) ? static_cast<std::int64_t>(more_blocks) : room;
  const bool is_served = class_block_bytes(index) <= options_.largest_required_pool_block;
  hot_[index].set_room(is_served && !options_.zero_on_free && !options_.pass_through ? room : 0);
}

// No block of the class is in use: neither its hot list nor its spans need a look. The next blocks come in
// order of address again, where the list has them in the order they were freed in, which after a random
// tear-down costs a cache miss for each.
void bucket_set::leave_whole(unsigned index) noexcept {
  bucket& b = buckets_[index];
  left_bytes_ += b.spans.bytes();
  b.spans.leave_to(left_);
  hot_[index].head = nullptr;
}

void bucket_set::join_left(std::size_t most_spans) noexcept {
  for (std::size_t joined = 0; joined < most_spans && !left_.empty(); ++joined) {
    span* const run = left_.pop();
    left_bytes_ -= run->bytes();
    heap_.give(run, now_);
  }
}

// ---- sorting ----

// Puts blocks of a hot list back into their spans, until `keep_blocks` are left. Returns how many.
// Several at a time, so that their spans' records are fetched together.
std::size_t bucket_set::sort(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept {
  constexpr std::size_t most_together = 16;
  bucket& b = buckets_[index];
  free_block*& head = hot_[index].head;
  const std::size_t listed = listed_blocks(index);
  const std::size_t wanted = std::min(listed - std::min(listed, keep_blocks), most_blocks);
  std::size_t sorted = 0;
  while (sorted < wanted) {
    std::array<free_block*, most_together> blocks;
    std::array<span*, most_together> homes;
    const std::size_t together = std::min(wanted - sorted, most_together);
    for (std::size_t i = 0; i < together; ++i) {
      blocks[i] = head;
      head = head->next();
      homes[i] = heap_.span_of(blocks[i]);
      __builtin_prefetch(homes[i], 1);
    }
    for (std::size_t i = 0; i < together; ++i) {
      if (b.spans.put(blocks[i], homes[i])) {
        heap_.give(homes[i], now_);
      }
    }
    sorted += together;
  }
  note(index);
  return sorted;
}

void bucket_set::sort_all() noexcept {
  join_left(SIZE_MAX);
  for (unsigned index = 0; index < cut_class_count; ++index) {
    sort(index, 0, SIZE_MAX);
    set_room(index);
  }
}

// The class with more in its hot list than its least stay that comes first in the order of `less`.
template <class Less>
unsigned bucket_set::first_listing(Less less) const noexcept {
  unsigned first = class_count;
  for (std::uint64_t left = listing_; left != 0; left &= left - 1) {
    const auto index = static_cast<unsigned>(std::countr_zero(left));
    first = first == class_count || less(index, first) ? index : first;
  }
  return first;
}

// Before the heap grows: sorts blocks of those classes that have most, about as long as the growth would
// take. True: the heap has a run of `pages` now.
bool bucket_set::sort_for(std::uint32_t pages) noexcept {
  std::size_t effort = std::min(std::size_t{pages} * sorted_per_page, most_sorted_at_once);
  while (effort > 0) {
    const unsigned index = first_listing([this](unsigned a, unsigned b) {
      return buckets_[a].noted_blocks * class_block_bytes(a) >
             buckets_[b].noted_blocks * class_block_bytes(b);
    });
    if (index == class_count) {
      return false;
    }
    effort -= sort(index, stay_blocks(index), std::min(effort, std::size_t{128}));
    set_room(index);
    if (span* const run = heap_.try_take(pages); run != nullptr) {
      heap_.give(run, now_);
      return true;
    }
  }
  return false;
}

// More is idle than may be. What was used longest ago goes first: a region that no block is in, or blocks of
// a hot list into their spans, so that regions become idle. In steps: what is left over is for the next call.
void bucket_set::settle() noexcept {
  std::size_t effort = most_sorted_at_once;
  for (int regions = 4; regions > 0 && is_over_budget();) {
    const unsigned index =
        first_listing([this](unsigned a, unsigned b) { return buckets_[a].last_use < buckets_[b].last_use; });
    const bool can_sort = index != class_count && effort > 0;
    const bool has_older_region =
        index == class_count || heap_.oldest_idle_since() < buckets_[index].last_use;
    const bool is_far_over =
        idle_bytes() - options_.max_idle_bytes > std::max(options_.max_idle_bytes / 8, least_stay_bytes);
    if (heap_.idle_regions_bytes() != 0 && (has_older_region || is_far_over || !can_sort)) {
      heap_.give_back_oldest();
      --regions;
    } else if (can_sort) {
      effort -= sort(index, stay_blocks(index), effort);
      set_room(index);
    } else {
      return;
    }
  }
}

// The blocks of a least stay may hold a hundred times their size: a span each, and through the spans whole
// regions. It shows in what is idle altogether. So now and then, while that is too much, all of them are
// sorted, which costs a class in use no more than that it takes its next blocks from spans.
void bucket_set::sort_stays() noexcept {
  const std::size_t idle_bytes = heap_.pages_bytes() - in_use_bytes();
  std::size_t effort = most_sorted_at_once;
  if (idle_bytes - idle_bytes / 8 <= options_.max_idle_bytes || idle_bytes <= least_leaving_bytes) {
    next_stay_ = cut_class_count;
  }
  while (next_stay_ < cut_class_count && effort > 0) {
    effort -= sort(next_stay_, 0, effort);
    set_room(next_stay_);
    next_stay_ += hot_[next_stay_].head == nullptr ? 1 : 0;
  }
  if (next_stay_ == cut_class_count) {
    next_stay_ = 0;
    stays_sorted_at_ = now_;
  }
}

// ---- the whole ----

std::size_t bucket_set::trim(std::size_t keep_bytes) noexcept {
  const std::size_t idle_bytes = heap_.pages_bytes() - in_use_bytes();
  if (idle_bytes <= keep_bytes) {
    return 0;
  }
  const std::size_t held_before = heap_.held_bytes();
  sort_all();
  const std::size_t most_bytes = in_use_bytes() + keep_bytes;
  while (heap_.pages_bytes() > most_bytes && heap_.give_back_oldest() != 0) {
  }
  return held_before - heap_.held_bytes();
}

void bucket_set::release() noexcept {
  for (unsigned index = 0; index < cut_class_count; ++index) {
    bucket& b = buckets_[index];
    b.released += in_use_blocks(index);
    b.spans = {};
    b.batch_blocks = 0;
    hot_[index].head = nullptr;
    note(index);
    set_room(index);
  }
  for (run_counts& counts : runs_) {
    counts.released += counts.in_use();
  }
  left_ = {};
  left_bytes_ = 0;
  heap_.release();
}

std::size_t bucket_set::in_use_bytes() const noexcept {
  std::size_t bytes = 0;
  for (unsigned index = 0; index < cut_class_count; ++index) {
    bytes += in_use_blocks(index) * class_block_bytes(index);
  }
  for (unsigned index = cut_class_count; index < class_count; ++index) {
    bytes += runs_[index - cut_class_count].in_use() * class_block_bytes(index);
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
  for (unsigned index = 0; index < cut_class_count; ++index) {
    const bucket& b = buckets_[index];
    if (b.misses != 0) {
      const std::size_t in_use = in_use_blocks(index);
      add(index, {.hits = hot_[index].popped,
                  .misses = b.misses,
                  .returned = hot_[index].pushed(),
                  .depth = b.spans.carved_blocks() - in_use,
                  .live_blocks = in_use});
    }
  }
  for (unsigned index = cut_class_count; index < class_count; ++index) {
    const run_counts& counts = runs_[index - cut_class_count];
    if (counts.hits + counts.misses != 0) {
      add(index, {.hits = counts.hits,
                  .misses = counts.misses,
                  .returned = counts.returned,
                  .discarded = counts.discarded,
                  .live_blocks = counts.in_use()});
    }
  }
  const std::size_t in_use = in_use_bytes();
  statistics.in_use_bytes += in_use;
  statistics.idle_bytes += heap_.pages_bytes() - in_use;
  statistics.overhead_bytes += heap_.overhead_bytes();
}

void bucket_set::check_invariants() const noexcept {
  heap_.check_invariants();
  std::size_t noted_bytes = 0;
  for (unsigned index = 0; index < cut_class_count; ++index) {
    const bucket& b = buckets_[index];
    b.spans.check_invariants(index);
    std::size_t listed = 0;
    for (const free_block* block = hot_[index].head; block != nullptr; block = block->next()) {
      ++listed;
      if (const span* const home = heap_.find(block); home == nullptr || home->index != index) {
        broken("a free block is in no span of its class", index);
      }
    }
    if (listed != listed_blocks(index)) {
      broken("the hot list is not as long as the counts say", index);
    }
    noted_bytes += b.noted_blocks * class_block_bytes(index);
  }
  if (noted_bytes != listed_bytes_) {
    broken("the sum of what was noted is wrong", 0);
  }
}

}  // namespace cistern::detail
