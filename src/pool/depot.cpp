#include <cistern/detail/pool/bucket_walks.hpp>
#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/idle_budget.hpp>

#include <algorithm>
#include <cstring>
#include <new>

namespace cistern::detail {
namespace {

/// Blocks moved at a time; more would hold the line of a lock longer than it saves visits.
constexpr std::size_t most_magazine_blocks = 64;
/// Fewer free blocks than this may be left alone for the sake of cache lines.
constexpr std::size_t few_blocks = 8;
/// A full magazine takes this part of a thread's cache: with less, classes push each other out; with more,
/// large blocks visit the depot too often.
constexpr std::size_t magazines_per_cache = 64;
/// A class whose two magazines would take more than this part of a thread's cache isn't cached.
constexpr std::size_t classes_per_cache = 4;

/// Blocks in a full magazine of a class; 0: the class isn't cached.
std::size_t full_magazine_blocks(unsigned index, const pool_options& options) noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  const std::size_t share_bytes = options.thread_cache_bytes / magazines_per_cache;
  const std::size_t least_blocks = block_bytes <= 2 * share_bytes ? 2 : 1;
  const std::size_t blocks =
      std::min(std::clamp(share_bytes / block_bytes, least_blocks, most_magazine_blocks),
               options.max_idle_blocks_per_bucket / 2);
  const bool fits = 2 * blocks * block_bytes <= options.thread_cache_bytes / classes_per_cache;
  return fits ? blocks : 0;
}

/// The least number of blocks from `begin`, not below `least_blocks`, after which a cache line ends. Blocks
/// are multiples of 8 bytes, so there is one within 8 more.
std::size_t blocks_to_line_end(const std::byte* begin, std::size_t block_bytes,
                               std::size_t least_blocks) noexcept {
  std::size_t blocks = least_blocks;
  while ((reinterpret_cast<std::uintptr_t>(begin) + blocks * block_bytes) % cache_line_bytes != 0 &&
         blocks < least_blocks + cache_line_bytes / 8) {
    ++blocks;
  }
  return blocks;
}

}  // namespace

depot::depot(const pool_options& options, upstream_account& account) noexcept
    : options_(options), account_(account) {
  for (unsigned i = 0; i < cached_class_count; ++i) {
    magazine_blocks_[i] = static_cast<std::uint8_t>(full_magazine_blocks(i, options));
  }
}

bucket_shape depot::shape(unsigned index) const noexcept {
  return {index, class_block_bytes(index), options_.max_blocks_per_chunk};
}

magazine depot::try_take(unsigned index, std::size_t carve_blocks, bool rather_fresh, bool& carved,
                         flushable* own) {
  shelf& s = shelves_[index];
  if (over_budget_.load(std::memory_order_relaxed) && wants_chunk(index)) [[unlikely]] {
    if (own != nullptr) {
      own->flush();
    }
    look_for_idle_chunks();
  }
  const auto take = [&] {
    const scoped_lock guard(s.lock);
    return take_locked(s, index, carve_blocks, rather_fresh, carved);
  };
  // Room is made where the limit or upstream refuses a chunk. That takes the other buckets' locks, so ours
  // has to go.
  try {
    const magazine taken = take();
    if (taken.head != nullptr || !make_room(own)) {
      return taken;
    }
  } catch (const std::bad_alloc&) {
    if (!make_room(own)) {
      throw;
    }
  }
  return take();
}

bool depot::make_room(flushable* own) noexcept {
  request_trim(0);
  if (own != nullptr) {
    own->flush_for_trim();
  }
  return trim(0) != 0 || own != nullptr;
}

magazine depot::take_locked(shelf& s, unsigned index, std::size_t carve_blocks, bool rather_fresh,
                            bool& carved) {
  const bool has_uncarved = s.blocks.bump != s.blocks.bump_end;
  if (rather_fresh && has_uncarved && s.blocks.depth() < few_blocks) {
    carved = true;
    ++s.blocks.misses;
    return carve(s, index, carve_blocks);
  }
  if (free_block* full = s.full_magazines; full != nullptr) {
    const std::size_t blocks = magazine_blocks(index);
    s.full_magazines = full->next_list();
    s.magazine_blocks_total -= blocks;
    s.blocks.popped += blocks;
    return {full, blocks};
  }
  if (s.blocks.head != nullptr) {
    return take_loose(s, std::max<std::size_t>(magazine_blocks(index), 1));
  }
  bucket& b = s.blocks;
  if (b.bump == b.bump_end && !b.open_fresh_chunk(class_block_bytes(index)) &&
      !b.add_chunk(shape(index), account_)) {
    return {};
  }
  carved = true;
  ++b.misses;
  return carve(s, index, carve_blocks);
}

// Cuts the loose list after `most_blocks` blocks.
magazine depot::take_loose(shelf& s, std::size_t most_blocks) noexcept {
  magazine taken{s.blocks.head, 1};
  free_block* last = taken.head;
  while (taken.blocks < most_blocks && last->next() != nullptr) {
    last = last->next();
    ++taken.blocks;
  }
  s.blocks.head = last->next();
  s.blocks.popped += taken.blocks;
  last->next(nullptr);
  return taken;
}

// Links the blocks so that they are handed out in order of address. All but the first count as listed. Ends
// at the end of a cache line where it can, so that the next thread begins on one of its own.
magazine depot::carve(shelf& s, unsigned index, std::size_t most_blocks) noexcept {
  bucket& b = s.blocks;
  const std::size_t block_bytes = class_block_bytes(index);
  const std::size_t wanted_blocks =
      block_bytes < cache_line_bytes && most_blocks > 1
          ? std::min<std::size_t>(blocks_to_line_end(b.bump, block_bytes, most_blocks),
                                  magazine_blocks(index))
          : most_blocks;
  const std::size_t blocks =
      std::min(wanted_blocks, static_cast<std::size_t>(b.bump_end - b.bump) / block_bytes);
  std::byte* const first = b.bump;
  for (std::size_t i = 0; i < blocks; ++i) {
    void* block = b.carve(block_bytes);
    std::byte* next = i + 1 < blocks ? b.bump : nullptr;
    free_block::make(block, block_bytes, reinterpret_cast<free_block*>(next));
  }
  b.moved_blocks += static_cast<std::int64_t>(blocks - 1);
  return {reinterpret_cast<free_block*>(first), blocks};
}

std::size_t depot::put(unsigned index, magazine blocks) noexcept {
  if (comes_singly(class_block_bytes(index))) {
    // Each is a chunk of its own, so each may be refused room.
    for (free_block* block = blocks.head; block != nullptr;) {
      free_block* const next = block->next();
      deallocate(index, block);
      block = next;
    }
    return unknown_live_blocks;
  }
  shelf& s = shelves_[index];
  bool outgrown = false;
  std::size_t live_blocks = unknown_live_blocks;
  {
    const scoped_lock guard(s.lock);
    if (blocks.blocks == magazine_blocks(index)) {
      blocks.head->next_list(s.full_magazines);
      s.full_magazines = blocks.head;
      s.magazine_blocks_total += blocks.blocks;
    } else {
      free_block* last = blocks.head;
      while (last->next() != nullptr) {
        last = last->next();
      }
      last->next(s.blocks.head);
      s.blocks.head = blocks.head;
    }
    s.blocks.pushed += blocks.blocks;
    outgrown = s.blocks.depth() > s.blocks.granted;
    if (!outgrown) {
      rewind_if_free(s, class_block_bytes(index));
    }
    if (s.blocks.is_large(class_block_bytes(index))) {
      live_blocks = s.blocks.carved_blocks - s.blocks.depth();
    }
  }
  if (outgrown) {
    settle(index);
  }
  return live_blocks;
}

void* depot::try_allocate(unsigned index, flushable* own) {
  bool carved = false;
  shelf& s = shelves_[index];
  {
    const scoped_lock guard(s.lock);
    if (s.blocks.head != nullptr) {
      ++s.hits;
      return s.blocks.pop();
    }
  }
  const magazine taken = try_take(index, 1, false, carved, own);
  free_block* block = taken.head;
  if (block == nullptr) {
    return nullptr;
  }
  free_block* rest = block->next();
  if (!carved) {
    add_hits(index, 1);
  }
  if (rest != nullptr) {
    put(index, {rest, taken.blocks - 1});
  }
  return block;
}

void depot::deallocate(unsigned index, void* block) noexcept {
  shelf& s = shelves_[index];
  const std::size_t block_bytes = class_block_bytes(index);
  const bool single = comes_singly(block_bytes);
  {
    const scoped_lock guard(s.lock);
    if (account_.source() != nullptr && index >= cached_class_count && s.blocks.depth() >= earned_blocks(s)) {
      s.blocks.discard(block, shape(index), account_);
      return;
    }
    if (!single || s.blocks.depth() < s.blocks.granted) {
      s.blocks.push(block, block_bytes);
      if (s.blocks.depth() <= s.blocks.granted) {
        return;
      }
    }
  }
  if (!single) {
    settle(index);
    return;
  }
  const bool keep = make_room_for_single(index);
  const scoped_lock guard(s.lock);
  if (keep && s.blocks.depth() < s.blocks.granted) {  // another thread may have used the room
    s.blocks.push(block, block_bytes);
  } else {
    s.blocks.discard(block, shape(index), account_);
  }
}

void* depot::try_move_single(unsigned from, void* block, unsigned to) noexcept {
  const std::size_t old_bytes = visit(from, [&](bucket& b) { return b.detach(block, shape(from)); });
  void* moved = account_.try_reallocate(block, old_bytes, single_chunk_bytes(shape(to)));
  // Where that was refused, the block goes on as what it was.
  const unsigned index = moved != nullptr ? to : from;
  visit(index, [&](bucket& b) { b.attach(moved != nullptr ? moved : block, shape(index), account_); });
  return moved;
}

// Under malloc all of a program's large blocks pass here, many of sizes that it never asks for again. So a
// class keeps free blocks as it has had use for some: one from its second request on, and one more for every
// two hits.
std::size_t depot::earned_blocks(const shelf& s) noexcept {
  return static_cast<std::size_t>(s.hits / 2) + (s.blocks.misses > 1 || s.hits > 0 ? 1 : 0);
}

std::optional<block_request> depot::find(const void* block) const {
  for (unsigned i = 0; i < class_count; ++i) {
    const shelf& s = shelves_[i];
    const scoped_lock guard(s.lock);
    if (s.blocks.holds(block, class_block_bytes(i))) {
      return block_request{class_block_bytes(i), 1};
    }
  }
  return std::nullopt;
}

idle_budget<depot> depot::budget() noexcept {
  return {*this, options_};
}

void depot::settle(unsigned index) noexcept {
  const scoped_lock guard(budget_lock_);
  budget().settle(index);
}

bool depot::wants_chunk(unsigned index) const noexcept {
  const shelf& s = shelves_[index];
  const scoped_lock guard(s.lock);
  return s.full_magazines == nullptr && s.blocks.head == nullptr && s.blocks.uncarved_bytes() == 0;
}

void depot::look_for_idle_chunks() noexcept {
  // Relaxed: a hint. What the budget looks at is guarded by the buckets' locks.
  if (!over_budget_.load(std::memory_order_relaxed)) {
    return;
  }
  const scoped_lock guard(budget_lock_);
  over_budget_.store(false, std::memory_order_relaxed);
  budget().look_again();
}

std::size_t depot::blocks_out_of_reach(unsigned index) const noexcept {
  // Relaxed: an estimate. A lone cache sees the last free itself.
  const std::size_t caches = caches_in_use_.load(std::memory_order_relaxed);
  return caches > 1 ? caches * 2 * magazine_blocks(index) : 0;
}

bool depot::make_room_for_single(unsigned index) noexcept {
  const scoped_lock guard(budget_lock_);
  return budget().make_room_for_single(index);
}

void depot::rewind_if_free(shelf& s, std::size_t block_bytes) noexcept {
  if (s.blocks.is_worth_rewinding(block_bytes)) {
    forget_magazines(s);
    s.blocks.rewind(block_bytes);
  }
}

void depot::forget_magazines(shelf& s) noexcept {
  s.full_magazines = nullptr;
  s.magazine_blocks_total = 0;
}

// Trimming looks at single blocks.
void depot::dissolve_magazines(shelf& s) noexcept {
  while (s.full_magazines != nullptr) {
    free_block* first = s.full_magazines;
    s.full_magazines = first->next_list();
    free_block* last = first;
    while (last->next() != nullptr) {
      last = last->next();
    }
    last->next(s.blocks.head);
    s.blocks.head = first;
  }
  s.magazine_blocks_total = 0;
}

bool depot::frees_are_in_order(unsigned index) const noexcept {
  const shelf& s = shelves_[index];
  const scoped_lock guard(s.lock);
  return are_in_order(s.full_magazines != nullptr ? s.full_magazines : s.blocks.head);
}

std::size_t depot::trim(unsigned index, std::size_t& surplus_bytes) noexcept {
  shelf& s = shelves_[index];
  const scoped_lock guard(s.lock);
  if (!s.blocks.may_have_free_chunks()) {
    return 0;
  }
  if (s.blocks.depth() == s.blocks.carved_blocks) {
    forget_magazines(s);  // nothing is live: the trim looks at no block
  } else {
    dissolve_magazines(s);
  }
  return s.blocks.trim(shape(index), account_, surplus_bytes);
}

std::size_t depot::trim(std::size_t keep_bytes) noexcept {
  return trim_to(*this, keep_bytes);
}

void depot::request_trim(std::size_t keep_bytes) noexcept {
  trim_keep_bytes_.store(keep_bytes, std::memory_order_relaxed);
  trims_requested_.fetch_add(1, std::memory_order_relaxed);
}

void depot::add_hits(unsigned index, std::uint64_t hits) noexcept {
  shelf& s = shelves_[index];
  const scoped_lock guard(s.lock);
  s.hits += hits;
}

void depot::abandon(unsigned index, std::uint64_t hits, std::size_t blocks) noexcept {
  shelf& s = shelves_[index];
  const scoped_lock guard(s.lock);
  s.hits += hits;
  s.blocks.moved_blocks -= static_cast<std::int64_t>(blocks);
}

void depot::add_to(pool_statistics& statistics,
                   const std::array<cached, cached_class_count>& in_caches) const {
  for (unsigned i = 0; i < class_count; ++i) {
    const shelf& s = shelves_[i];
    const cached in_cache = i < cached_class_count ? in_caches[i] : cached{};
    const scoped_lock guard(s.lock);
    s.blocks.add_to(statistics, shape(i), options_.count_operations, in_cache.blocks, s.hits + in_cache.hits);
  }
}

void depot::release() noexcept {
  for (unsigned i = 0; i < class_count; ++i) {
    shelf& s = shelves_[i];
    const scoped_lock guard(s.lock);
    forget_magazines(s);
    s.blocks.release(shape(i), account_);
  }
}

void depot::check_invariants() const noexcept {
  for (unsigned i = 0; i < class_count; ++i) {
    const shelf& s = shelves_[i];
    const scoped_lock guard(s.lock);
    s.blocks.check_invariants(shape(i), s.magazine_blocks_total);
  }
}

bool depot::each_lock(lock_visitor& visit) noexcept {
  return visit(budget_lock_) &&
         std::all_of(shelves_.begin(), shelves_.end(), [&](shelf& s) { return visit(s.lock); });
}

}  // namespace cistern::detail
