#include "heap.hpp"

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/environment.hpp>
#include <cistern/detail/base/errno_keeper.hpp>
#include <cistern/detail/base/never_destroyed.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/pool_engine.hpp>
#include <cistern/detail/pool/slack_guard.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>

#include "aligned_blocks.hpp"
#include "empty_blocks.hpp"
#include "foreign_blocks.hpp"
#include "heap_guard.hpp"
#include "large_blocks.hpp"
#include "misuse.hpp"
#include <sched.h>

namespace cistern::detail {
namespace {

/// Larger requests are mapped one by one; where each is to lie between guards, those of half the size that
/// thread caches would have.
constexpr std::size_t largest_guarded_bytes = largest_cached_block_bytes / 2;
constexpr std::size_t largest_pooled_bytes = hardened_build ? largest_guarded_bytes : std::size_t{32} << 20;
constexpr pool_options options{
    .max_blocks_per_chunk = most_blocks_per_chunk,
    .largest_required_pool_block = largest_pooled_bytes,
    // What a program has used lately may be three times that, see `span_supply`.
    .max_idle_bytes = std::size_t{32} << 20,
};
/// A block is kept by `reallocate` while at least this part of it is used, or while it is no larger than
/// that.
constexpr std::size_t least_used_part = 2;
constexpr std::size_t always_kept_bytes = 64;
constexpr bool is_kept(std::size_t bytes, std::size_t old_bytes) noexcept {
  return bytes <= old_bytes && (bytes >= old_bytes / least_used_part || old_bytes <= always_kept_bytes);
}
/// The mark that says whether a block was freed lies in a cache line that its user hardly touches: from here
/// on.
constexpr std::size_t least_unseen_bytes = 256;
/// A run that has to grow to this elsewhere gets a mapping of its own, which grows on without a copy: what
/// has grown is likely to do so again.
constexpr std::size_t least_grown_mapping_bytes = std::size_t{1} << 20;

// Relaxed: a figure for reports and tests.
constinit std::atomic<std::size_t> all_copied_bytes{0};

constinit heap_pages source;
struct pool_over_pages {
  upstream_account account{source};
  pool_engine engine{options, account, nullptr};
};
constinit never_destroyed<pool_over_pages> pool;
pool_engine& engine() noexcept {
  return pool->engine;
}
constinit thread_local bool making_pool __attribute__((tls_model("initial-exec"))) = false;

bool is_pooled(std::size_t last, std::size_t alignment) noexcept {
  return last < largest_pooled_bytes && alignment <= page_bytes;
}

void* or_no_memory(void* block) noexcept {
  if (block == nullptr) [[unlikely]] {
    errno = ENOMEM;
  }
  return block;
}

/// The last byte of a request as a block sees it: at least one byte, on the boundary every block has.
std::size_t block_last_byte(std::size_t bytes, std::size_t alignment) noexcept {
  return last_byte(std::max<std::size_t>(bytes, 1), std::max(alignment, heap::least_alignment));
}

}  // namespace

constinit std::atomic<heap::phase> heap::now{heap::phase::unborn};

inline bool heap::has_begun(phase seen) noexcept {
  return seen == phase::working || seen == phase::passing_through;
}

inline heap::phase heap::current_phase() noexcept {
  // Acquire pairs with the releases in `begin`: the pool is seen as it was made.
  const phase seen = now.load(std::memory_order_acquire);
  return has_begun(seen) ? seen : begin();
}

// The first request, or one from inside of it: to make the pool, the C library is told of forks and thread
// exits.
heap::phase heap::begin() noexcept {
  if (making_pool) {
    return phase::being_made;
  }
  phase seen = phase::unborn;
  if (now.compare_exchange_strong(seen, phase::being_made, std::memory_order_acquire)) {
    const bool works = !environment_says_pass_through() && make_pool();
    now.store(works ? phase::working : phase::passing_through, std::memory_order_release);
  }
  while ((seen = now.load(std::memory_order_acquire)) == phase::being_made) {
    ::sched_yield();
  }
  return seen;
}

/// False where the C library can't tell of thread exits or forks: then its own malloc has to do.
bool heap::make_pool() noexcept {
  making_pool = true;
  if (environment_says_huge_pages()) {
    welcome_huge_pages();
  }
  bool made = false;
  try {
    pool.make();
    watch_heap_threads();
    heap_guard::start(environment_sample_guard());
    made = true;
  } catch (const std::system_error&) {  // allocated, and freed again, while the pool is being made
  }
  making_pool = false;
  return made;
}

// With a guard each small allocation comes here. Nothing of it needs the stack.
void* heap::allocate_slow(std::size_t bytes, std::size_t alignment, const void* caller) noexcept {
  if (--unasked_allocations <= 0) [[unlikely]] {
    return allocate_due(bytes, alignment, caller);
  }
  if (!hardened_build && alignment <= least_alignment) {
    return pop_or(heap_slots, bytes, [=] { return allocate_unsampled(bytes, alignment); });
  }
  return allocate_unsampled(bytes, alignment);
}

// Time to ask the guard; or, once for each thread, whether there is one.
void* heap::allocate_due(std::size_t bytes, std::size_t alignment, const void* caller) noexcept {
  void* block = nullptr;
  if (heap_guard* const guard = heap_guard::now(); guard != nullptr) {
    if (guard->picks(unasked_allocations)) {
      block = guard->blocks().allocate(bytes, std::max(alignment, least_alignment), caller);
    }
  } else if (has_begun(now.load(std::memory_order_acquire))) {
    unasked_allocations = INT64_MAX;
  }
  return block != nullptr ? block : allocate_unsampled(bytes, alignment);
}

void* heap::allocate_unsampled(std::size_t bytes, std::size_t alignment) noexcept {
  if constexpr (hardened_build) {
    return allocate_guarded(bytes, alignment);
  }
  const std::size_t last = block_last_byte(bytes, alignment);
  if (last < largest_cached_block_bytes && alignment <= page_bytes) [[likely]] {
    const unsigned index = class_of(last);
    if (void* const block = heap_slots->try_pop(index); block != nullptr) [[likely]] {
      return unmarked(index, block);
    }
  }
  return or_no_memory(bytes <= PTRDIFF_MAX ? allocate_uncached(bytes, alignment) : nullptr);
}

void* heap::allocate_uncached(std::size_t bytes, std::size_t alignment) noexcept {
  const phase served_by = current_phase();
  if (served_by == phase::passing_through) {
    return foreign_allocate(bytes, alignment);
  }
  const std::size_t last = block_last_byte(bytes, alignment);
  if (served_by == phase::working && is_pooled(last, alignment)) {
    const unsigned index = class_of(last);
    void* const block = engine().try_allocate(index);
    follow_cache();
    return handed_out(index, block);
  }
  void* const block = served_by == phase::working && alignment > page_bytes
                          ? allocate_within(aligned_blocks::room_bytes(bytes, alignment), alignment)
                          : nullptr;
  return block != nullptr ? block : allocate_large(bytes, alignment);
}

// Null where that would take too much, or there is no memory.
void* heap::allocate_within(std::size_t room_bytes, std::size_t alignment) noexcept {
  if (alignment > aligned_blocks::most_alignment ||
      !is_pooled(block_last_byte(room_bytes, page_bytes), page_bytes)) {
    return nullptr;
  }
  void* const room = allocate_unsampled(room_bytes, page_bytes);
  return room != nullptr ? aligned_blocks::begin_in(room, alignment) : nullptr;
}

// A block that came the long way is in use from now on; or null.
void* heap::handed_out(unsigned index, void* block) noexcept {
  if (block != nullptr) {
    if (index < cached_class_count) {
      return unmarked(index, block);
    }
    heap_map.set(block, 1, heap_pages::code_of_class(index));
  }
  return block;
}

// After an operation that may have given this thread a cache.
void heap::follow_cache() noexcept {
  if (!has_heap_slots()) {
    if (thread_cache* const cache = engine().known_cache(); cache != nullptr) {
      use_heap_slots(*cache, heap_guard::now() != nullptr);
    }
  }
}

// What the pool keeps idle may be what is missing.
void* heap::allocate_large(std::size_t bytes, std::size_t alignment) noexcept {
  void* block = large_blocks::allocate(bytes, alignment);
  if (block == nullptr && bytes < absurd_bytes && (trim(0) || hardened_build)) {
    block = large_blocks::allocate(bytes, alignment);
  }
  return block;
}

// ---- hardened builds ----

// Room for the guard behind what is asked for, and the guard written. What has no room in the pool then has
// pages of its own.
void* heap::allocate_guarded(std::size_t bytes, std::size_t alignment) noexcept {
  if (bytes > PTRDIFF_MAX) {
    return or_no_memory(nullptr);
  }
  const std::size_t last = block_last_byte(bytes + slack_guard::least_bytes, alignment);
  const bool pooled = bytes != 0 && is_pooled(last, alignment);
  if (pooled) {
    if (void* const block = heap_slots->try_pop(class_of(last)); block != nullptr) [[likely]] {
      return guarded(class_of(last), block, bytes);
    }
  }
  const phase served_by = current_phase();
  if (served_by == phase::passing_through) {
    return or_no_memory(foreign_allocate(bytes, alignment));
  }
  if (served_by == phase::working && bytes == 0 && alignment <= least_alignment) {
    return allocate_empty();
  }
  return or_no_memory(served_by == phase::working && pooled
                          ? guarded(class_of(last), try_take(class_of(last)), bytes)
                          : allocate_large(std::max<std::size_t>(bytes, 1), alignment));
}

// Null, or a block whose first word led to the next free one.
void* heap::guarded(unsigned index, void* block, std::size_t bytes) noexcept {
  if (block != nullptr) {
    std::memset(unmarked(index, block), 0, sizeof(void*));
    slack_guard::write(block, bytes, class_block_bytes(index));
  }
  return block;
}

// What freed blocks hold of the address space may be what is missing.
void* heap::try_take(unsigned index) noexcept {
  void* block = engine().try_allocate(index);
  if (block == nullptr) {
    large_blocks::forget_freed();
    block = engine().try_allocate(index);
  }
  follow_cache();
  return block;
}

// A block of one byte where there are too many of none.
void* heap::allocate_empty() noexcept {
  void* const block = empty_blocks::try_allocate();
  return block != nullptr ? block : allocate_guarded(1, least_alignment);
}

void heap::expect_empty(const void* block, const char* function) noexcept {
  if (!empty_blocks::is_out(block)) {
    misuse_found(function, block, "not the address of a block in use");
  }
}

void heap::deallocate_empty(const void* block, const char* function) noexcept {
  if (!empty_blocks::try_deallocate(block)) {
    misuse_found(function, block, "the block was freed before");
  }
}

// Where C++ says how much was asked for.
void heap::expect_asked(void* block, std::size_t bytes) noexcept {
  const page_map::code code = heap_map.at(block);
  if (block == nullptr || code == 0) {
    return;
  }
  expect_block(code, block, "operator delete");
  const std::size_t asked_bytes = code == heap_pages::single_code  ? large_blocks::asked_bytes(block)
                                  : code == heap_pages::empty_code ? 0
                                                                   : pooled_bytes(code - 1U, block);
  if (asked_bytes != std::max<std::size_t>(bytes, code == heap_pages::empty_code ? 0 : 1)) {
    misuse_found("operator delete", block, "delete with another size than new");
  }
}

void heap::expect_whole(unsigned index, const void* block, const char* function) noexcept {
  if (!slack_guard::is_whole(block, class_block_bytes(index))) {
    misuse_found(function, block, "was written to behind its end, or isn't the beginning of a block in use");
  }
}

void heap::wipe_guarded(unsigned index, void* block, const char* function) noexcept {
  expect_whole(index, block, function);
  slack_guard::wipe(block, class_block_bytes(index));
}

bool heap::resize_guarded(unsigned index, void* block, std::size_t bytes) noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  const bool is_used = bytes >= block_bytes / least_used_part || block_bytes <= always_kept_bytes;
  if (bytes > block_bytes - slack_guard::least_bytes || !is_used) {
    return false;
  }
  slack_guard::resize(block, bytes, block_bytes);
  return true;
}

void* heap::allocate_zeroed(std::size_t bytes) noexcept {
  const std::size_t last = block_last_byte(bytes, least_alignment);
  if (last < largest_cached_block_bytes) {
    void* block = allocate(bytes);
    return block == nullptr || (hardened_build && bytes == 0) ? block : std::memset(block, 0, bytes);
  }
  if (bytes > PTRDIFF_MAX) {
    return or_no_memory(nullptr);
  }
  const phase served_by = current_phase();
  if (served_by == phase::passing_through) {
    return or_no_memory(foreign_allocate_zeroed(bytes));
  }
  return or_no_memory(
      served_by == phase::working && is_pooled(last, least_alignment)
          ? handed_out(class_of(last), engine().try_allocate_zeroed_run(class_of(last), bytes))
          : allocate_large(bytes, least_alignment));
}

void heap::deallocate_slow(void* block, const char* function) noexcept {
  if (block == nullptr) {
    return;
  }
  const errno_keeper keeper;  // also where this waits for a lock
  if (heap_guard* const guard = heap_guard::of(block); guard != nullptr) {
    return guard->blocks().deallocate(block, __builtin_return_address(0));
  }
  const page_map::code code = heap_map.at(block);
  expect_block(code, block, function);
  if (code == heap_pages::empty_code) {
    deallocate_empty(block, function);
  } else if (code == heap_pages::aligned_code) {
    deallocate(aligned_blocks::end(block), function);
  } else if (code == heap_pages::single_code) {
    large_blocks::deallocate(block);
  } else if (code != 0) {
    heap_map.set(block, 1, heap_pages::freed_code);  // before others may get it
    deallocate_pooled(code - 1U, block);
  } else {
    foreign_deallocate(block);
  }
}

void heap::deallocate_pooled(unsigned index, void* block) noexcept {
  const errno_keeper keeper;
  engine().deallocate(index, block);
  follow_cache();
}

// What isn't in the pool's reach, or of a class of runs, or is about to be reallocated.
void heap::expect_block(page_map::code code, void* block, const char* function) noexcept {
  if (code == 0) {
    if (current_phase() == phase::working && (checked_build || !foreign_may_have_blocks())) {
      misuse_found(function, block, "not the address of a block in use");
    }
  } else if (code == heap_pages::freed_code) {
    misuse_found(function, block, "the block was freed before");
  } else if (code == heap_pages::single_code) {
    if (reinterpret_cast<std::uintptr_t>(block) % page_bytes != 0) {
      misuse_found(function, block, "not the beginning of a block");
    }
  } else if (code == heap_pages::empty_code) {
    expect_empty(block, function);
  } else if (code == heap_pages::aligned_code) {
    if (!aligned_blocks::is_block(block)) {
      misuse_found(function, block, "not the beginning of a block");
    }
  } else {
    const unsigned index = code - 1U;
    const bool is_right = index < small_class_count ? may_be_in_use<small_mark_word>(index, block, heap_slots)
                          : index < cached_class_count
                              ? may_be_in_use<large_mark_word>(index, block, heap_slots)
                              : may_begin_block(index, block) && (!checked_build || is_block(index, block));
    if (!is_right) {
      report_misuse(index, block, function);
    }
    if constexpr (hardened_build) {
      expect_whole(index, block, function);
    }
  }
}

bool heap::is_block(unsigned index, const void* block) noexcept {
  return engine().is_block(index, block);
}

bool heap::may_be_out(unsigned index, const void* block) noexcept {
  return engine().may_be_out(index, block);
}

void heap::report_misuse(unsigned index, void* block, const char* function) noexcept {
  misuse_found(function, block,
               may_begin_block(index, block) && is_block(index, block) ? "the block was freed before"
                                                                       : "not the beginning of a block");
}

void heap::expect_class([[maybe_unused]] const void* block, [[maybe_unused]] unsigned index) noexcept {
  // While the pool is made, blocks of all sizes are mappings.
  CISTERN_EXPECTS(
      heap_map.at(block) == heap_pages::code_of_class(index) || heap_map.at(block) == 0 || making_pool,
      "delete with another size than new", reinterpret_cast<std::uintptr_t>(block));
}

// What grows step by step is written to at its end: a look at the mark in its beginning would be a cache miss
// for nothing else. Its free looks, and so does a reallocation that moves it.
inline bool heap::is_kept_unseen(page_map::code code, const void* block, std::size_t bytes) noexcept {
  const unsigned index = code - 1U;  // no class for code 0
  return !checked_build && !hardened_build && index < cached_class_count &&
         class_block_bytes(index) >= least_unseen_bytes && is_kept(bytes, class_block_bytes(index)) &&
         may_begin_block(index, block);
}

void* heap::reallocate(void* block, std::size_t bytes) noexcept {
  if (block == nullptr) {
    return allocate(bytes);
  }
  if (bytes > PTRDIFF_MAX) {
    return or_no_memory(nullptr);
  }
  if (heap_guard* const guard = heap_guard::of(block); guard != nullptr) {
    return reallocate_sampled(guard->blocks(), block, bytes, __builtin_return_address(0));
  }
  const page_map::code code = heap_map.at(block);
  if (is_kept_unseen(code, block, bytes)) {
    return block;
  }
  expect_block(code, block, "realloc");
  if (code == 0) {
    return or_no_memory(foreign_reallocate(block, bytes));
  }
  const bool single = code == heap_pages::single_code;
  if (single && bytes >= least_grown_mapping_bytes / least_used_part) {
    if (void* moved = large_blocks::reallocate(block, bytes); moved != nullptr) {
      return moved;
    }
  }
  if (code == heap_pages::empty_code) {
    return move(block, 0, bytes, false);
  }
  const std::size_t old_bytes = bytes_of(code, block);
  const bool pooled = code <= class_count;
  if (hardened_build && pooled) {
    return resize_guarded(code - 1U, block, bytes) ? block : move(block, old_bytes, bytes, false);
  }
  if (is_kept(bytes, old_bytes)) {
    return block;
  }
  if (pooled && resize_in_place(code - 1U, block, bytes)) {
    return block;
  }
  const bool is_growing_run = pooled && code > cached_class_count && bytes > old_bytes;
  return move(block, old_bytes, bytes, is_growing_run && bytes >= least_grown_mapping_bytes);
}

// No copy, and no block of the old size left behind.
bool heap::resize_in_place(unsigned from, void* block, std::size_t bytes) noexcept {
  const std::size_t last = block_last_byte(bytes, least_alignment);
  return from >= cached_class_count && last >= largest_cached_block_bytes &&
         is_pooled(last, least_alignment) && engine().try_resize_run(from, block, class_of(last));
}

void* heap::move(void* block, std::size_t old_bytes, std::size_t bytes, bool to_mapping) noexcept {
  void* moved = to_mapping ? large_blocks::allocate(bytes, least_alignment) : nullptr;
  moved = moved != nullptr ? moved : allocate(bytes);
  if (moved == nullptr) {
    return bytes <= old_bytes ? block : nullptr;
  }
  const std::size_t copied_bytes = std::min(old_bytes, bytes);
  std::memcpy(moved, block, copied_bytes);
  all_copied_bytes.fetch_add(copied_bytes, std::memory_order_relaxed);
  deallocate(block, "realloc");
  return moved;
}

// To another block, whatever the size: so this one's guard page is always at its end.
void* heap::reallocate_sampled(guarded_slots& blocks, void* block, std::size_t bytes,
                               const void* caller) noexcept {
  const std::size_t old_bytes = blocks.request_of(block, caller).bytes;
  void* const moved = allocate_slow(bytes, least_alignment, caller);
  if (moved == nullptr) {
    return bytes <= old_bytes ? block : nullptr;
  }
  std::memcpy(moved, block, std::min(old_bytes, bytes));
  blocks.deallocate(block, caller);
  return moved;
}

std::size_t heap::copied_bytes() noexcept {
  return all_copied_bytes.load(std::memory_order_relaxed);
}

std::size_t heap::usable_bytes(void* block) noexcept {
  if (block == nullptr) {
    return 0;
  }
  if (heap_guard* const guard = heap_guard::of(block); guard != nullptr) {
    return guard->blocks().request_of(block, __builtin_return_address(0)).bytes;
  }
  const page_map::code code = heap_map.at(block);
  expect_block(code, block, "malloc_usable_size");
  return code == 0 ? foreign_usable_bytes(block) : bytes_of(code, block);
}

// Of one in use.
std::size_t heap::bytes_of(page_map::code code, const void* block) noexcept {
  return code == heap_pages::single_code    ? large_blocks::usable_bytes(block)
         : code == heap_pages::empty_code   ? 0
         : code == heap_pages::aligned_code ? aligned_blocks::usable_bytes(block)
                                            : pooled_bytes(code - 1U, block);
}

// As much of a block as its user may have.
std::size_t heap::pooled_bytes(unsigned index, const void* block) noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  return hardened_build ? slack_guard::asked_bytes(block, block_bytes) : block_bytes;
}

bool heap::trim(std::size_t keep_bytes) noexcept {
  if constexpr (hardened_build) {
    large_blocks::forget_freed();
  }
  return current_phase() == phase::working && engine().trim(keep_bytes) != 0;
}

pool_statistics heap::statistics() {
  pool_statistics statistics;
  if (current_phase() == phase::working) {
    engine().add_to(statistics);
    pool->account.add_to(statistics);
  }
  return statistics;
}

}  // namespace cistern::detail
