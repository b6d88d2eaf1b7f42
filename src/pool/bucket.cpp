#include <cistern/detail/pool/bucket.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>

namespace cistern::detail {
namespace {

std::size_t chunk_bytes(std::size_t blocks, std::size_t block_bytes) noexcept {
  return blocks * block_bytes + sizeof(chunk);
}

// Whole pages, filled; and not so few of them that the record would take one for itself. What isn't carved
// yet takes addresses only.
std::size_t fill_pages(std::size_t blocks, std::size_t block_bytes) noexcept {
  constexpr std::size_t least_blocks = 8;
  const std::size_t bytes = chunk_bytes(std::max(blocks, least_blocks), block_bytes);
  const std::size_t whole_bytes = (bytes + (page_bytes - 1)) & ~(page_bytes - 1);
  return (whole_bytes - sizeof(chunk)) / block_bytes;
}

// Small pools stay small and large ones make few calls: a new chunk is about half of what the bucket holds.
std::size_t next_chunk_blocks(const bucket& b, const bucket_shape& shape,
                              const upstream_account& account) noexcept {
  if (comes_singly(shape.block_bytes)) {
    return 1;
  }
  const std::size_t target_bytes = std::clamp(std::bit_floor(b.held_bytes(shape.block_bytes) / 2),
                                              smallest_chunk_bytes, largest_chunk_bytes);
  const std::size_t room_bytes = std::min(target_bytes, account.available_bytes());
  const std::size_t blocks =
      room_bytes > sizeof(chunk) ? (room_bytes - sizeof(chunk)) / shape.block_bytes : 0;
  const bool whole_pages = account.source() != nullptr;
  return std::clamp(whole_pages ? fill_pages(blocks, shape.block_bytes) : blocks, std::size_t{1},
                    shape.max_blocks_per_chunk);
}

void link(bucket& b, chunk* c) noexcept {
  c->next = b.chunks;
  c->previous = nullptr;
  if (c->next != nullptr) {
    c->next->previous = c;
  }
  b.chunks = c;
  ++b.chunk_count;
}

void unlink(bucket& b, chunk* c) noexcept {
  (c->previous != nullptr ? c->previous->next : b.chunks) = c->next;
  if (c->next != nullptr) {
    c->next->previous = c->previous;
  }
  --b.chunk_count;
}

// Writes the record of new memory behind its last block, and enters it in the books.
void take_in(bucket& b, std::byte* base, std::size_t blocks, const bucket_shape& shape,
             const upstream_account& account) noexcept {
  link(b, new (base + blocks * shape.block_bytes) chunk{.next = nullptr,
                                                        .previous = nullptr,
                                                        .base = base,
                                                        .blocks = blocks,
                                                        .left = nullptr,
                                                        .right = nullptr,
                                                        .free_head = nullptr,
                                                        .free_blocks = 0});
  if (chunk_source* source = account.source(); source != nullptr) {
    source->assign(base, blocks * shape.block_bytes, shape.index);
  }
}

// The record lies inside the memory that is given back: it must not be touched afterwards.
void give_back(chunk* c, const bucket_shape& shape, upstream_account& account) noexcept {
  const std::size_t bytes = chunk_bytes(c->blocks, shape.block_bytes);
  std::byte* base = c->base;
  asan_unpoison(base, bytes);
  account.deallocate(base, bytes, class_alignment(shape.index));
}

// Merges two lists of chunks, each in order of address, linked by `next`.
chunk* merge(chunk* a, chunk* b) noexcept {
  chunk* merged = nullptr;
  chunk** tail = &merged;
  while (a != nullptr && b != nullptr) {
    chunk*& smaller = std::less<>{}(a->base, b->base) ? a : b;
    *tail = smaller;
    tail = &smaller->next;
    smaller = *tail;
  }
  *tail = a != nullptr ? a : b;
  return merged;
}

// Bottom-up merge sort of the chunk list by address: in place, since a trim must not need memory.
// Slot i holds a sorted list of 2^i chunks or none.
chunk* sort_by_address(chunk* list) noexcept {
  std::array<chunk*, 64> slots{};
  while (list != nullptr) {
    chunk* carry = list;
    list = list->next;
    carry->next = nullptr;
    std::size_t slot = 0;
    for (; slots[slot] != nullptr; ++slot) {
      carry = merge(slots[slot], carry);
      slots[slot] = nullptr;
    }
    slots[slot] = carry;
  }
  chunk* sorted = nullptr;
  for (chunk* partial : slots) {
    sorted = merge(partial, sorted);
  }
  return sorted;
}

// Makes a balanced search tree (`left`, `right`) of the first `count` chunks of a sorted list and moves
// `list` past them. Depth of the recursion: log2(count).
chunk* build_tree(chunk*& list, std::size_t count) noexcept {
  if (count == 0) {
    return nullptr;
  }
  chunk* left = build_tree(list, count / 2);
  chunk* root = list;
  list = list->next;
  root->left = left;
  root->right = build_tree(list, count - count / 2 - 1);
  return root;
}

// The chunk that holds `block`: the last one whose base is not above it.
chunk* find_chunk(chunk* root, const void* block) noexcept {
  chunk* found = nullptr;
  while (root != nullptr) {
    if (std::less<>{}(block, static_cast<const void*>(root->base))) {
      root = root->left;
    } else {
      found = root;
      root = root->right;
    }
  }
  return found;
}

// Moves every free block from the bucket's list to the list of its chunk.
void distribute(bucket& b, chunk* root) noexcept {
  for (free_block* block = b.head; block != nullptr;) {
    free_block* next = block->next();
    chunk* c = find_chunk(root, block);
    block->next(c->free_head);
    c->free_head = block;
    ++c->free_blocks;
    block = next;
  }
  b.head = nullptr;
}

// Puts a chunk's free blocks in front of `behind`, in order of address: a bit per block, read in order.
// Sorting a chunk at a time keeps the work inside one chunk's memory.
free_block* in_address_order(const chunk* c, std::size_t block_bytes, free_block* behind) noexcept {
  std::array<std::uint64_t, most_blocks_per_chunk / 64> is_free{};
  const auto index_of = [&](free_block* block) {
    return static_cast<std::size_t>(reinterpret_cast<std::byte*>(block) - c->base) / block_bytes;
  };
  for (free_block* block = c->free_head; block != nullptr; block = block->next()) {
    const std::size_t index = index_of(block);
    is_free[index / 64] |= std::uint64_t{1} << (index % 64);
  }
  for (std::size_t word = (c->blocks + 63) / 64; word-- > 0;) {
    for (std::uint64_t bits = is_free[word]; bits != 0;) {
      const auto bit = static_cast<std::size_t>(63 - std::countl_zero(bits));
      bits &= ~(std::uint64_t{1} << bit);
      auto* block = reinterpret_cast<free_block*>(c->base + (word * 64 + bit) * block_bytes);
      block->next(behind);
      behind = block;
    }
  }
  return behind;
}

// The uncarved blocks of the chunk that is being carved.
std::size_t bump_blocks(const bucket& b, std::size_t block_bytes) noexcept {
  return static_cast<std::size_t>(b.bump_end - b.bump) / block_bytes;
}

// How many of a chunk's blocks were ever carved; `carving` is the chunk that `bump` points into.
std::size_t carved_blocks_of(const bucket& b, const chunk* c, const chunk* carving,
                             std::size_t block_bytes) noexcept {
  return c == carving ? c->blocks - bump_blocks(b, block_bytes) : c->blocks;
}

void forget_uncarved(bucket& b) noexcept {
  b.bump = b.bump_end = nullptr;
}

// For when all blocks of the list are about to be no blocks any more.
void forget_list(bucket& b) noexcept {
  b.moved_blocks -= static_cast<std::int64_t>(b.depth());
  b.popped = b.pushed;
  b.head = nullptr;
  b.carved_blocks = 0;
}

[[noreturn]] void broken(const char* what, const bucket_shape& shape) noexcept {
  std::fprintf(stderr, "cistern: bucket of %zu bytes: %s\n", shape.block_bytes, what);
  std::abort();
}

}  // namespace

bool are_in_order(const free_block* list) noexcept {
  constexpr int most_steps = 16;
  constexpr std::uintptr_t near_bytes = std::uintptr_t{64} << 10;
  int steps = 0;
  int near_steps = 0;
  while (list != nullptr && list->next() != nullptr && steps < most_steps) {
    const free_block* next = list->next();
    const auto from = reinterpret_cast<std::uintptr_t>(list);
    const auto to = reinterpret_cast<std::uintptr_t>(next);
    near_steps += (from < to ? to - from : from - to) <= near_bytes ? 1 : 0;
    ++steps;
    list = next;
  }
  return near_steps * 4 >= steps * 3;
}

std::size_t single_chunk_bytes(const bucket_shape& shape) noexcept {
  return chunk_bytes(1, shape.block_bytes);
}

bool bucket::add_chunk(const bucket_shape& shape, upstream_account& account) {
  std::size_t most_blocks = SIZE_MAX;
  std::size_t blocks = 0;
  std::byte* base = nullptr;
  do {
    blocks = std::min(next_chunk_blocks(*this, shape, account), most_blocks);
    try {
      base = static_cast<std::byte*>(
          account.try_allocate(chunk_bytes(blocks, shape.block_bytes), class_alignment(shape.index)));
      // Refused although it fitted: another thread has just taken of what was left. There may be some still.
    } catch (const std::bad_alloc&) {
      if (blocks == 1) {
        throw;
      }
      most_blocks = blocks / 2;  // less may still be had
    }
  } while (base == nullptr && blocks > 1 && account.source() == nullptr);
  if (base == nullptr) {
    return false;
  }
  take_in(*this, base, blocks, shape, account);
  asan_poison(base, blocks * shape.block_bytes);
  bump = base;
  bump_end = base + blocks * shape.block_bytes;
  return true;
}

std::size_t bucket::detach(void* block, const bucket_shape& shape) noexcept {
  const std::size_t bytes = single_chunk_bytes(shape);
  --carved_blocks;
  ++discarded;
  unlink(*this, reinterpret_cast<chunk*>(static_cast<std::byte*>(block) + shape.block_bytes));
  return bytes;
}

void bucket::attach(void* block, const bucket_shape& shape, upstream_account& account) noexcept {
  take_in(*this, static_cast<std::byte*>(block), 1, shape, account);
  ++carved_blocks;
  ++misses;
}

void bucket::discard(void* block, const bucket_shape& shape, upstream_account& account) noexcept {
  const std::size_t bytes = detach(block, shape);
  asan_unpoison(block, bytes);
  account.deallocate(block, bytes, class_alignment(shape.index));
}

std::size_t bucket::trim(const bucket_shape& shape, upstream_account& account,
                         std::size_t& surplus_bytes) noexcept {
  if (!may_have_free_chunks()) {
    return 0;
  }
  if (depth() == carved_blocks && idle_bytes(shape.block_bytes) <= surplus_bytes) {
    // Every block is free: the chunks can go without a look at the blocks.
    const std::size_t bytes = held_bytes(shape.block_bytes);
    surplus_bytes -= idle_bytes(shape.block_bytes);
    release(shape, account);
    return bytes;
  }
  if (depth() == carved_blocks && carved_blocks != 0 && !comes_singly(shape.block_bytes)) {
    rewind(shape.block_bytes);
  }
  std::size_t given_back_bytes = 0;
  while (fresh != nullptr && surplus_bytes > 0) {
    chunk* c = fresh;
    fresh = c->previous;
    const std::size_t idle_bytes = c->blocks * shape.block_bytes;
    fresh_bytes -= idle_bytes;
    surplus_bytes -= std::min(idle_bytes, surplus_bytes);
    given_back_bytes += idle_bytes + sizeof(chunk);
    unlink(*this, c);
    give_back(c, shape, account);
  }
  if (surplus_bytes == 0 || chunks == nullptr) {
    limit_grant();
    return given_back_bytes;
  }
  chunks = sort_by_address(chunks);
  chunk* unbuilt = chunks;
  chunk* root = build_tree(unbuilt, chunk_count);
  distribute(*this, root);
  const chunk* carving = bump != bump_end ? find_chunk(root, bump) : nullptr;

  chunk* kept = nullptr;  // in descending order of address
  for (chunk* c = chunks; c != nullptr;) {
    chunk* next = c->next;
    const std::size_t idle_bytes = c->blocks * shape.block_bytes;
    const std::size_t carved = carved_blocks_of(*this, c, carving, shape.block_bytes);
    if (c->free_blocks == carved && surplus_bytes > 0) {
      surplus_bytes -= std::min(idle_bytes, surplus_bytes);
      given_back_bytes += idle_bytes + sizeof(chunk);
      moved_blocks -= static_cast<std::int64_t>(c->free_blocks);
      popped += c->free_blocks;
      carved_blocks -= carved;
      --chunk_count;
      if (c == carving) {
        forget_uncarved(*this);
      }
      give_back(c, shape, account);
    } else {
      c->next = kept;
      kept = c;
    }
    c = next;
  }

  chunks = nullptr;
  chunk_count = 0;
  for (chunk* c = kept; c != nullptr;) {
    chunk* next = c->next;
    head = in_address_order(c, shape.block_bytes, head);
    c->free_head = nullptr;
    c->free_blocks = 0;
    link(*this, c);
    c = next;
  }
  depth_after_trim = static_cast<std::uint32_t>(std::min<std::size_t>(depth(), UINT32_MAX));
  pushed_at_walk = surplus_bytes > 0 ? pushed : no_walk;
  limit_grant();
  return given_back_bytes;
}

void bucket::rewind(std::size_t block_bytes) noexcept {
  fresh_bytes = idle_bytes(block_bytes);
  forget_list(*this);
  forget_uncarved(*this);
  depth_after_trim = 0;
  fresh = chunks;
  while (fresh->next != nullptr) {
    fresh = fresh->next;
  }
}

void bucket::release(const bucket_shape& shape, upstream_account& account) noexcept {
  for (chunk* c = chunks; c != nullptr;) {
    chunk* next = c->next;
    give_back(c, shape, account);
    c = next;
  }
  chunks = nullptr;
  chunk_count = 0;
  fresh = nullptr;
  fresh_bytes = 0;
  forget_list(*this);
  depth_after_trim = 0;
  forget_uncarved(*this);
  limit_grant();
}

bool bucket::holds(const void* block, std::size_t block_bytes) const noexcept {
  const std::less<const void*> before;
  for (const chunk* each = chunks; each != nullptr; each = each->next) {
    if (!before(block, each->base) && before(block, each->base + each->blocks * block_bytes)) {
      return true;
    }
  }
  return false;
}

void bucket::limit_grant() noexcept {
  granted = std::min(granted, depth());
  limit = std::min(limit, granted);
}

void bucket::add_to(pool_statistics& statistics, const bucket_shape& shape, bool count_operations,
                    std::size_t cached_blocks, std::uint64_t hits) const {
  if (misses == 0) {
    return;  // the first block of a bucket is always a miss
  }
  bucket_statistics row;
  row.block_bytes = shape.block_bytes;
  row.misses = misses;
  row.discarded = discarded;
  // While other threads work, a block on its way between cache and depot may be seen in both.
  row.depth = std::min(depth() + cached_blocks, carved_blocks);
  row.live_blocks = carved_blocks - row.depth;
  if (count_operations) {
    // Blocks come onto lists by a free or by carving, and leave them by a hit or with their chunk.
    row.hits = hits;
    const auto returned = static_cast<std::int64_t>(row.depth + row.hits) - moved_blocks;
    row.returned =
        returned > 0 ? static_cast<std::uint64_t>(returned) : 0;  // below 0: read while threads work
  }
  statistics.in_use_bytes += row.live_blocks * shape.block_bytes;
  statistics.idle_bytes += row.depth * shape.block_bytes + uncarved_bytes();
  statistics.overhead_bytes += chunk_count * sizeof(chunk);
  statistics.buckets.push_back(row);
}

void bucket::check_invariants(const bucket_shape& shape, std::size_t free_elsewhere) const noexcept {
  std::size_t listed = 0;
  for (const free_block* block = head; block != nullptr; block = block->next()) {
    ++listed;
  }
  if (listed + free_elsewhere != depth()) {
    broken("depth differs from the length of the free list", shape);
  }
  std::size_t blocks = 0;
  std::size_t bytes = 0;
  std::size_t count = 0;
  for (const chunk* c = chunks; c != nullptr; c = c->next) {
    blocks += c->blocks;
    bytes += chunk_bytes(c->blocks, shape.block_bytes);
    ++count;
    if (c->next != nullptr && c->next->previous != c) {
      broken("chunk links do not agree", shape);
    }
    if (reinterpret_cast<const std::byte*>(c) != c->base + c->blocks * shape.block_bytes) {
      broken("chunk record is not behind its last block", shape);
    }
  }
  if (count != chunk_count) {
    broken("chunk_count differs from the number of chunks", shape);
  }
  if (blocks - uncarved_bytes() / shape.block_bytes != carved_blocks) {
    broken("carved_blocks differs from what the chunks say", shape);
  }
  if (bytes != held_bytes(shape.block_bytes)) {
    broken("held_bytes differs from what the chunks say", shape);
  }
  if (depth() > carved_blocks) {
    broken("more blocks are free than were carved", shape);
  }
}

}  // namespace cistern::detail
