#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/home_check.hpp>
#include <cistern/detail/pool/watched_blocks.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "broken_invariant.hpp"
#include "list_walk.hpp"

namespace cistern::detail {
namespace {

/// Blocks taken from a span at a time; more would hold the lock longer than it saves visits.
constexpr std::size_t most_taken_blocks = 64;

// Two magazines of one block each must fit into a quarter of what a cache may have.
unsigned cached_classes(const pool_options& options) noexcept {
  const std::size_t most_bytes = std::min(options.thread_cache_bytes / 8, largest_cached_block_bytes);
  return options.max_idle_blocks_per_bucket >= 2 ? computed_class_of(most_bytes) : 0;
}

std::uint32_t run_pages(unsigned index) noexcept {
  return static_cast<std::uint32_t>(class_block_bytes(index) / page_bytes);
}

}  // namespace

depot::depot(const pool_options& options, upstream_account& account) noexcept
    : options_(options),
      account_(account),
      cached_classes_(account.lists_are_shut() ? 0 : cached_classes(options)),
      supply_(options, account, *this) {
  know_seals();
}

// Relaxed, here and below: nothing is published through these numbers.
std::size_t depot::cache_share_bytes() const noexcept {
  const std::size_t caches = caches_.load(std::memory_order_relaxed);
  const std::size_t total = options_.thread_caches_total_bytes;
  const std::size_t share = caches <= 1 ? total : std::max(total / caches, least_cache_share_bytes());
  return std::min(share, options_.thread_cache_bytes);
}

// What is left is kept for those who come: nobody gets the last quarter but who will have no more than a part
// of what is left then, so that the next one may have nearly as much. Else a few threads that are idle now
// would have it all.
bool depot::reserve_cache_bytes(std::size_t had_bytes, std::size_t bytes) noexcept {
  constexpr std::size_t parts = 8;
  const std::size_t total = options_.thread_caches_total_bytes;
  const std::size_t before = cache_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  const std::size_t left = total - std::min(before + bytes, total);
  const bool has_little = had_bytes + bytes <= std::max(least_cache_share_bytes(), left / parts);
  const bool is_alone = caches_.load(std::memory_order_relaxed) <= 1;
  if (before + bytes > (has_little || is_alone ? total : total - total / 4)) {
    cache_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    return false;
  }
  return true;
}

// ---- taking ----

magazine depot::try_take(unsigned index, std::size_t most_blocks, bool& fresh, std::size_t& others_blocks,
                         flushable* own) {
  shelf& s = shelves_[index];
  span* added = nullptr;
  for (bool may_flush = own != nullptr;;) {
    {
      const scoped_lock guard(s.lock);
      ++s.visits;
      const magazine taken = take_locked(s, index, added, most_blocks, fresh);
      if (taken.head != nullptr) {
        others_blocks = blocks_elsewhere(s, index);
        return taken;
      }
    }
    try {
      bool had_block = false;
      added = try_get_span(index, had_block);
      if (added != nullptr || had_block) {
        continue;  // where another thread was faster, once more
      }
      if (!may_flush) {
        return {};
      }
    } catch (const std::bad_alloc&) {
      if (!may_flush) {
        throw;
      }
    }
    // What lies in caches may be all it takes: of ours at once, of others when they next come by.
    may_flush = false;
    request_trim(0);
    own->flush_for_trim();
  }
}

// A span that was added is used at once: nobody would miss it otherwise.
magazine depot::take_locked(shelf& s, unsigned index, span* added, std::size_t most_blocks,
                            bool& fresh) noexcept {
  supply_.listed().use(index);
  if (added != nullptr) {
    s.spans.add(added, index, options_.max_blocks_per_chunk);
  } else if (s.listed_blocks() != 0) {
    const magazine taken = take_listed(s, most_blocks);
    note(s, index);
    return taken;
  }
  if (!s.spans.has_block()) {
    return {};
  }
  fresh = true;
  ++s.misses;
  return account_.lists_are_shut()
             ? s.spans.take_watched(class_block_bytes(index))
             : s.spans.take(class_block_bytes(index), std::min(most_blocks, most_taken_blocks));
}

void depot::loosen(shelf& s, magazine whole) noexcept {
  s.loose = whole.head;
  s.loose_blocks = whole.blocks;
}

// A magazine as it came, or the first of its blocks, or of those that came singly.
magazine depot::take_listed(shelf& s, std::size_t most_blocks) noexcept {
  if (!s.magazines.empty()) {
    if (const magazine whole = s.magazines.pop(); whole.blocks <= most_blocks) {
      return whole;
    } else if (s.loose == nullptr) {
      loosen(s, whole);
    } else {
      s.magazines.push(whole);
    }
  }
  if (s.loose == nullptr) {
    return {};
  }
  magazine taken{s.loose, 1};
  free_block* last = taken.head;
  while (taken.blocks < most_blocks && last->next() != nullptr) {
    last = last->next();
    ++taken.blocks;
  }
  s.loose = last->next();
  s.loose_blocks -= taken.blocks;
  last->next(nullptr);
  return taken;
}

bool depot::has_block(unsigned index) noexcept {
  const shelf& s = shelves_[index];
  const scoped_lock guard(s.lock);
  return s.spans.has_block() || s.listed_blocks() != 0;
}

// Null: the class had a block of its own meanwhile, which another thread may have taken since, or there is no
// memory.
span* depot::try_get_span(unsigned index, bool& had_block) {
  span_wish wanted{};
  {
    shelf& s = shelves_[index];
    const scoped_lock guard(s.lock);
    wanted = s.spans.next_span(index);
  }
  const auto look = [&] {
    const bool is_there = has_block(index);
    had_block = had_block || is_there;
    return is_there;
  };
  return assigned(supply_.try_get(index, wanted, look), index);
}

span* depot::assigned(span* run, unsigned index) noexcept {
  if (chunk_source* const source = account_.source(); run != nullptr && source != nullptr) {
    source->assign(run->base(), run->bytes(), index);
  }
  return run;
}

void* depot::try_allocate(unsigned index, flushable* own) {
  if (index >= cached_class_count) {
    bool is_new = false;
    return try_allocate_run(index, is_new, own);
  }
  bool fresh = false;
  std::size_t others_blocks = 0;
  const magazine taken = try_take(index, 1, fresh, others_blocks, own);
  if (taken.head != nullptr && !fresh) {
    add_hits(index, 1);
  }
  return taken.head != nullptr ? taken.head->handed_out() : nullptr;
}

void* depot::try_allocate_run(unsigned index, bool& is_new, flushable* own) {
  if (void* const kept = try_take_kept(index); kept != nullptr) {
    is_new = false;
    return kept;
  }
  const std::uint32_t pages = run_pages(index);
  run_shelf& s = runs_[index - cached_class_count];
  span* run = nullptr;
  const auto never = [] { return false; };
  try {
    run = supply_.try_take(pages, pages, never);
    if (run == nullptr && own == nullptr) {
      return nullptr;
    }
  } catch (const std::bad_alloc&) {
    if (own == nullptr) {
      throw;
    }
  }
  if (run == nullptr) {
    request_trim(0);
    own->flush_for_trim();
    run = supply_.try_take(pages, pages, never);
    if (run == nullptr) {
      return nullptr;
    }
  }
  is_new = run->is_new;
  assign_run(run, index);
  const scoped_lock guard(s.lock);
  s.runs.count_taken(is_new);
  // What is new from a source reads as zero, and need not be touched.
  const bool is_clear = account_.lists_are_shut() || (is_new && account_.source() != nullptr);
  return is_clear ? run->base() : reinterpret_cast<free_block*>(run->base())->handed_out();
}

void* depot::try_take_kept(unsigned index) noexcept {
  run_shelf& s = runs_[index - cached_class_count];
  const scoped_lock guard(s.lock);
  return s.runs.try_take(supply_.listed(), index);
}

void depot::assign_run(span* run, unsigned index) noexcept {
  run->index = static_cast<std::uint8_t>(index);
  if (chunk_source* const source = account_.source(); source != nullptr) {
    source->assign(run->base(), page_bytes, index);  // nobody asks for an address further in
  }
}

bool depot::try_resize_run(unsigned from, void* block, unsigned to) noexcept {
  span* const run = supply_.span_of(block);
  if (!supply_.try_resize(run, run_pages(to))) {
    return false;
  }
  assign_run(run, to);
  const auto visit = [this](unsigned index, auto count) {
    run_shelf& s = runs_[index - cached_class_count];
    const scoped_lock guard(s.lock);
    count(s.runs);
  };
  visit(from, [](run_class& runs) { runs.count_returned(); });
  visit(to, [](run_class& runs) { runs.count_taken(false); });
  return true;
}

// ---- putting back ----

std::size_t depot::put(unsigned index, magazine blocks) noexcept {
  if (blocks.head == nullptr) {
    return unknown_blocks;
  }
  shelf& s = shelves_[index];
  span_list left;
  std::size_t left_bytes = 0;
  std::size_t elsewhere = unknown_blocks;
  bool too_many = false;
  {
    const scoped_lock guard(s.lock);
    ++s.visits;
    put_locked(s, index, blocks);
    elsewhere = blocks_elsewhere(s, index);
    if (elsewhere == 0) {
      // No block is in use: neither lists nor spans need a look, and the next ones come in order of address.
      left_bytes = s.spans.bytes();
      s.spans.leave_to(left);
      s.magazines = {};
      s.loose = nullptr;
      s.loose_blocks = 0;
    }
    note(s, index);
    too_many = s.listed_blocks() > options_.max_idle_blocks_per_bucket;
  }
  if (!left.empty()) {
    supply_.give_left(left, left_bytes);
  }
  if (too_many) {
    sort(index, options_.max_idle_blocks_per_bucket, SIZE_MAX);
  }
  settle(blocks.blocks * class_block_bytes(index));
  return elsewhere;
}

void depot::note(shelf& s, unsigned index) noexcept {
  const std::size_t listed = s.listed_blocks();
  const std::size_t elsewhere = s.spans.out_blocks() - listed;
  const std::size_t beside = s.spans.bytes() - s.spans.out_blocks() * class_block_bytes(index);
  const free_block* const list = s.magazines.empty() ? s.loose : s.magazines.top();
  supply_.listed().note(index, listed, elsewhere, list, beside);
}

void depot::put_locked(shelf& s, unsigned index, magazine blocks) noexcept {
  supply_.listed().use(index);
  if (blocks.blocks > 1) {
    s.magazines.push(blocks);
  } else {
    blocks.head->next(s.loose);
    s.loose = blocks.head;
    ++s.loose_blocks;
  }
}

// Of a class that is worth giving up whole.
std::size_t depot::blocks_elsewhere(const shelf& s, unsigned index) const noexcept {
  const bool is_worth_it = s.spans.bytes() >= least_leaving_bytes(index, options_);
  return is_worth_it ? s.spans.out_blocks() - s.listed_blocks() : unknown_blocks;
}

void depot::deallocate(unsigned index, void* block) noexcept {
  if (index >= cached_class_count) {
    deallocate_run(index, block);
  } else {
    put(index, {free_block::make(block, class_block_bytes(index), nullptr), 1});
  }
}

void depot::deallocate_run(unsigned index, void* block) noexcept {
  if constexpr (hardened_build) {
    expect_run(index, block, supply_);
    if (!account_.lists_are_shut()) {
      free_block::expect_in_use(block);
    }
  }
  asan_poison(block, class_block_bytes(index));  // what goes to the heap as well
  run_shelf& s = runs_[index - cached_class_count];
  const std::size_t most_kept = account_.lists_are_shut() ? 0 : most_kept_runs(options_, index);
  bool is_kept = false;
  {
    const scoped_lock guard(s.lock);
    is_kept = s.runs.try_keep(block, most_kept, supply_.listed(), index);
  }
  if (!is_kept) {
    supply_.give(supply_.span_of(block));
  }
  settle(class_block_bytes(index));
}

// Straight back to its run, past the lists, from which a fast path would take it.
void depot::deallocate_watched(unsigned index, void* block) noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  span* home = find_watched(supply_, index, block, [&](const span& in) {
    const scoped_lock guard(shelves_[in.index].lock);
    return class_spans::is_out(block, class_block_bytes(in.index), in);
  });
  if (home == nullptr) {
    return;
  }
  if (options_.zero_on_free) {
    allow_access(block, block_bytes);
    std::memset(block, 0, block_bytes);
  }
  if (index >= cached_class_count) {
    forbid_access(block, block_bytes);
    return deallocate_run(index, block);
  }
  shelf& s = shelves_[index];
  {
    const scoped_lock guard(s.lock);
    ++s.visits;
    home = s.spans.put_watched(block, block_bytes, home) ? home : nullptr;
    note(s, index);
  }
  if (home != nullptr) {
    supply_.give(home);
  }
  settle(block_bytes);
}

// A few at a time, which are nowhere meanwhile: the lists' lock and the heap's are never held together.
sorted_blocks depot::sort(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept {
  constexpr std::size_t most_together = 32;
  if (index >= cached_class_count) {
    return sort_runs(index, keep_blocks, most_blocks);
  }
  shelf* const found = shelves_.find(index);
  if (found == nullptr) {
    return {};
  }
  shelf& s = *found;
  span_list emptied;
  sorted_blocks sorted;
  const span* last_home = nullptr;
  list_walk walk;
  while (sorted.blocks < most_blocks) {
    std::array<free_block*, most_together> blocks;
    std::array<span*, most_together> homes;
    const std::size_t wanted = std::min(most_blocks - sorted.blocks, most_together);
    std::size_t together = 0;
    {
      const scoped_lock guard(s.lock);
      while (together < wanted && s.listed_blocks() > keep_blocks) {
        if (s.loose == nullptr) {
          loosen(s, s.magazines.pop());
        }
        blocks[together++] = s.loose;
        s.loose = walk.after(s.loose);
        --s.loose_blocks;
      }
      note(s, index);
    }
    if (together == 0) {
      break;
    }
    supply_.find_spans(blocks, together, homes);
    const scoped_lock guard(s.lock);
    for (std::size_t i = 0; i < together; ++i) {
      expect_home(index, blocks[i], homes[i]);
      sorted.count(std::exchange(last_home, homes[i]) != homes[i]);
      if (s.spans.put(blocks[i], homes[i])) {
        emptied.push(homes[i]);
      }
    }
  }
  supply_.give(emptied);
  return sorted;
}

sorted_blocks depot::sort_runs(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept {
  run_shelf* const found = runs_.find(index - cached_class_count);
  if (found == nullptr) {
    return {};
  }
  run_shelf& s = *found;
  sorted_blocks sorted;
  while (sorted.blocks < most_blocks) {
    void* kept = nullptr;
    {
      const scoped_lock guard(s.lock);
      kept = s.runs.kept_blocks() > keep_blocks ? s.runs.take_kept(supply_.listed(), index) : nullptr;
    }
    if (kept == nullptr) {
      break;
    }
    supply_.give(supply_.span_of(kept));
    sorted.count(true);
  }
  return sorted;
}

// A few spans at a time: whoever wants blocks of the class waits no longer than that.
std::size_t depot::discard(unsigned index) noexcept {
  constexpr std::size_t spans_at_once = 8;
  shelf* const found = shelves_.find(index);
  if (found == nullptr) {
    return 0;
  }
  shelf& s = *found;
  std::size_t bytes = 0;
  const span* first = nullptr;
  bool is_through = account_.lists_are_shut();
  for (std::size_t looks = 0; !is_through; looks += spans_at_once) {
    const scoped_lock guard(s.lock);
    is_through = s.spans.discard(class_block_bytes(index), spans_at_once, first, bytes) ||
                 looks > s.spans.bytes() / page_bytes;  // `first` may have gone meanwhile
  }
  return bytes;
}

// ---- the whole ----

bool depot::make_room(flushable* own) noexcept {
  request_trim(0);
  if (own != nullptr) {
    own->flush_for_trim();
  }
  return supply_.make_room(UINT32_MAX) || own != nullptr;
}

std::size_t depot::trim(std::size_t keep_bytes) noexcept {
  std::size_t taken_bytes = 0;  // in use, or in caches
  for (unsigned index = 0; index < cached_class_count; ++index) {
    if (const shelf* const s = shelves_.find(index); s != nullptr) {
      const scoped_lock guard(s->lock);
      taken_bytes += (s->spans.out_blocks() - s->listed_blocks()) * class_block_bytes(index);
    }
  }
  for (unsigned index = cached_class_count; index < class_count; ++index) {
    if (const run_shelf* const s = runs_.find(index - cached_class_count); s != nullptr) {
      const scoped_lock guard(s->lock);
      taken_bytes += s->runs.in_use() * class_block_bytes(index);
    }
  }
  const std::size_t held_before = supply_.held_bytes();
  const std::size_t most_bytes = keep_bytes < SIZE_MAX - taken_bytes ? taken_bytes + keep_bytes : SIZE_MAX;
  if (supply_.pages_bytes() > most_bytes) {
    supply_.shrink(most_bytes);
  }
  const std::size_t held_after = supply_.held_bytes();
  return held_before - std::min(held_before, held_after);
}

// As a trim does that keeps what may be idle.
bool depot::flush_caches() noexcept {
  if (caches_.load(std::memory_order_relaxed) == 0) {
    return false;
  }
  request_trim(options_.max_idle_bytes);
  return true;
}

// What the caller has flushed, and no more than it may have been.
void depot::follow_trim() noexcept {
  constexpr std::size_t most_blocks = 4096;
  const std::size_t keep_bytes = trim_keep_bytes_.load(std::memory_order_relaxed);
  std::size_t effort = most_blocks;
  for (unsigned index = 0; index < listed_blocks::most_classes && supply_.listed().bytes() > keep_bytes;
       ++index) {
    if (supply_.listed().bytes_of(index) != 0) {
      effort -= sort(index, 0, effort).blocks;
    }
  }
  supply_.settle_to(keep_bytes);
}

bool depot::is_block(unsigned index, const void* address) noexcept {
  const span* const home = supply_.span_at(address);
  return home != nullptr && home->index == index &&
         static_cast<std::size_t>(static_cast<const std::byte*>(address) - home->base()) %
                 class_block_bytes(index) ==
             0;
}

bool depot::may_be_out(unsigned index, const void* address) noexcept {
  const span* const home = supply_.span_at(address);
  return is_block(index, address) &&
         !(home->use == span_use::blocks && class_spans::is_unlinked(address, *home));
}

std::optional<block_request> depot::find(const void* block) const {
  const span* const run = supply_.find(block);
  return run == nullptr ? std::nullopt : std::optional(block_request{class_block_bytes(run->index), 1});
}

// Under the one lock that upstream is called with: a fork must find nobody inside of it.
void* depot::try_allocate_record(std::size_t bytes, std::size_t alignment) {
  const scoped_lock guard(supply_.lock());
  return account_.try_allocate(bytes, alignment);
}

void depot::deallocate_record(void* memory, std::size_t bytes, std::size_t alignment) noexcept {
  const scoped_lock guard(supply_.lock());
  account_.deallocate(memory, bytes, alignment);
}

void depot::add_hits(unsigned index, std::uint64_t hits) noexcept {
  shelf& s = shelves_[index];
  const scoped_lock guard(s.lock);
  s.hits += hits;
}

void depot::add_hits(const std::array<cached, cached_class_count>& given_up) noexcept {
  for (unsigned index = 0; index < cached_class_count; ++index) {
    if (given_up[index].hits != 0) {
      add_hits(index, given_up[index].hits);
    }
  }
}

std::uint64_t depot::visits() const noexcept {
  std::uint64_t sum = 0;
  for (unsigned index = 0; index < cached_class_count; ++index) {
    if (const shelf* const s = shelves_.find(index); s != nullptr) {
      const scoped_lock guard(s->lock);
      sum += s->visits;
    }
  }
  return sum;
}

void depot::add_to(pool_statistics& statistics,
                   const std::array<cached, cached_class_count>& in_caches) const {
  std::size_t in_use_bytes = 0;
  const auto add = [&](unsigned index, bucket_statistics row) {
    if (row.misses == 0 && row.hits == 0) {
      return;
    }
    row.block_bytes = class_block_bytes(index);
    in_use_bytes += row.live_blocks * row.block_bytes;
    if (!options_.count_operations) {
      row.hits = row.returned = 0;
    }
    statistics.buckets.push_back(row);
  };
  // Rows are added with no lock held: they take memory, which may come from here.
  const auto row_of = [&](const shelf& s, unsigned index) -> bucket_statistics {
    const scoped_lock guard(s.lock);
    const std::size_t block_bytes = class_block_bytes(index);
    statistics.idle_in_lists_bytes += s.listed_blocks() * block_bytes;
    statistics.idle_in_caches_bytes += in_caches[index].blocks * block_bytes;
    statistics.idle_in_spans_bytes += s.spans.bytes() - s.spans.out_blocks() * block_bytes;
    // While other threads work, a block on its way between cache and depot may be seen in both, or in none.
    const std::size_t out = s.spans.out_blocks();
    const std::size_t in_use = out - std::min(out, s.listed_blocks() + in_caches[index].blocks);
    const std::uint64_t hits = s.hits + in_caches[index].hits;
    const std::uint64_t taken = hits + s.misses;
    return {.hits = hits,
            .misses = s.misses,
            .returned = taken - std::min<std::uint64_t>(taken, in_use + s.released),
            .depth = s.spans.carved_blocks() - in_use,
            .live_blocks = in_use};
  };
  const auto run_row_of = [&](const run_shelf& s, unsigned index) {
    const scoped_lock guard(s.lock);
    statistics.idle_in_lists_bytes += s.runs.kept_blocks() * class_block_bytes(index);
    return s.runs.row();
  };
  for (unsigned index = 0; index < cached_class_count; ++index) {
    if (const shelf* const s = shelves_.find(index); s != nullptr) {
      add(index, row_of(*s, index));
    }
  }
  for (unsigned index = cached_class_count; index < class_count; ++index) {
    if (const run_shelf* const s = runs_.find(index - cached_class_count); s != nullptr) {
      add(index, run_row_of(*s, index));
    }
  }
  const std::size_t pages_bytes = supply_.pages_bytes();
  statistics.in_use_bytes += in_use_bytes;
  statistics.idle_bytes += pages_bytes - std::min(pages_bytes, in_use_bytes);
  supply_.add_to(statistics);
}

// No other thread is inside, so no lock is taken: for a pool of short life they would be most of it.
void depot::release(const std::array<cached, cached_class_count>& in_caches) noexcept {
  if (!account_.was_used()) {
    return;
  }
  for (unsigned index = 0; index < cached_class_count; ++index) {
    if (shelf* const s = shelves_.find(index); s != nullptr) {
      s->hits += in_caches[index].hits;
      s->released += s->spans.out_blocks() - s->listed_blocks() - in_caches[index].blocks;
      s->spans = {};
      s->magazines = {};
      s->loose = nullptr;
      s->loose_blocks = 0;
      note(*s, index);
    }
  }
  for (unsigned index = cached_class_count; index < class_count; ++index) {
    if (run_shelf* const s = runs_.find(index - cached_class_count); s != nullptr) {
      s->runs.release(supply_.listed(), index);
    }
  }
  supply_.release();
}

void depot::expect_in_class(const free_block* block, unsigned index) const noexcept {
  if (const span* const home = supply_.find(block); home == nullptr || home->index != index) {
    broken_invariant("depot, blocks", class_block_bytes(index), "a free block is in no span of its class");
  }
}

void depot::check_invariants() const noexcept {
  const scoped_lock supply_guard(supply_.lock());  // the first one, as at a fork
  supply_.check_invariants();
  for (unsigned index = 0; index < cached_class_count; ++index) {
    const shelf* const found = shelves_.find(index);
    if (found == nullptr) {
      continue;
    }
    const shelf& s = *found;
    const scoped_lock guard(s.lock);
    s.spans.check_invariants(index);
    if (s.listed_blocks() > s.spans.out_blocks()) {
      broken_invariant("depot, blocks", class_block_bytes(index), "more blocks are free than were ever out");
    }
    std::size_t in_magazines = 0;
    s.magazines.for_each([&](const free_block* block) {
      ++in_magazines;
      expect_in_class(block, index);
    });
    std::size_t loose = 0;
    for (const free_block* block = s.loose; block != nullptr; block = block->next()) {
      ++loose;
      expect_in_class(block, index);
    }
    if (in_magazines != s.magazines.blocks() || loose != s.loose_blocks) {
      broken_invariant("depot, blocks", class_block_bytes(index), "free blocks are miscounted");
    }
  }
}

// All of them, also those that nobody needed yet: none is made while they are held.
bool depot::each_lock(lock_visitor& visit) noexcept {
  if (!visit(supply_.lock())) {
    return false;
  }
  for (unsigned index = 0; index < cached_class_count; ++index) {
    if (!visit(shelves_[index].lock)) {
      return false;
    }
  }
  for (unsigned index = cached_class_count; index < class_count; ++index) {
    if (!visit(runs_[index - cached_class_count].lock)) {
      return false;
    }
  }
  return true;
}

}  // namespace cistern::detail
