#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/pool/pool_engine.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

namespace cistern::detail {

pool_engine::pool_engine(const pool_options& options, upstream_account& account, unpooled_blocks* beside)
    : account_(account), beside_(beside), depot_(options, account) {
  ticket_ = enroll(*this);
  try {
    hold_at_fork(*this);
  } catch (...) {
    ticket_.withdraw();
    throw;
  }
}

pool_engine::~pool_engine() {
  ticket_.withdraw();
  let_go_at_fork(*this);
  depot_.release(free_caches(true));
}

void pool_engine::release() noexcept {
  ticket_.renew();  // no thread finds its old cache any more
  depot_.release(free_caches(true));
}

// No cache yet, or none in the table, or nothing in it, or the class is none of a cache's.
void* pool_engine::try_allocate(unsigned index) {
  if (depot_.is_cached(index)) {
    if (thread_cache* cache = own_cache(); cache != nullptr) {
      return cache->try_refill(index);
    }
  }
  return depot_.try_allocate(index, as_flushable(cache_after_trims()).get());
}

// What has just come is zero already: most of it may never be touched.
void* pool_engine::try_allocate_zeroed_run(unsigned index, std::size_t bytes) {
  bool is_new = false;
  void* const block = depot_.try_allocate_run(index, is_new, as_flushable(cache_after_trims()).get());
  if (block != nullptr) {
    asan_unpoison(block, class_block_bytes(index));
  }
  return block == nullptr || is_new ? block : std::memset(block, 0, bytes);
}

void pool_engine::deallocate(unsigned index, void* block) noexcept {
  if (account_.lists_are_shut()) [[unlikely]] {
    return depot_.deallocate_watched(index, block);
  }
  if (depot_.options().zero_on_free) {
    free_block::expect_in_use(block);
    asan_unpoison(block, class_block_bytes(index));
    std::memset(block, 0, class_block_bytes(index));
  }
  if (depot_.is_cached(index)) {
    if (thread_cache* cache = own_cache(); cache != nullptr) {
      cache->take_back(index, block);
      return;
    }
  }
  cache_after_trims();
  depot_.deallocate(index, block);
}

// The slow paths past the cache: a thread that uses nothing but large blocks honours trims as well.
thread_cache* pool_engine::cache_after_trims() noexcept {
  thread_cache* cache = known_cache();
  if (cache != nullptr) {
    cache->honour_trim();
  }
  return cache;
}

// Null where there is no memory for a cache, and at the end of the thread: the thread then works on the depot
// directly.
thread_cache* pool_engine::own_cache() noexcept {
  if (thread_cache* cache = known_cache(); cache != nullptr) {
    return cache;
  }
  if (is_early() || !ticket_.thread_takes_caches()) {
    return nullptr;
  }
  thread_cache* cache = idle_or_new_cache();
  if (cache != nullptr && !ticket_.remember(cache)) {
    put_aside(*cache);
    return nullptr;
  }
  return cache;
}

// A cache takes more memory than the blocks of a pool for one request, and longer to make than some visits to
// the depot.
bool pool_engine::is_early() noexcept {
  constexpr std::uint32_t early_requests = 32;
  return account_.source() == nullptr && early_requests_.load(std::memory_order_relaxed) < early_requests &&
         early_requests_.fetch_add(1, std::memory_order_relaxed) < early_requests;
}

thread_cache* pool_engine::idle_or_new_cache() noexcept {
  {
    const scoped_lock guard(caches_lock_);
    thread_cache* cache = caches_;
    while (cache != nullptr && cache->in_use) {
      cache = cache->next;
    }
    if (cache != nullptr) {
      cache->adopt();
      return cache;
    }
  }
  return new_cache();
}

thread_cache* pool_engine::new_cache() noexcept {
  constexpr std::size_t least_room_bytes = 8 * sizeof(thread_cache);
  if (account_.available_bytes() < least_room_bytes) {
    return nullptr;  // what is left of `max_bytes` is for the user
  }
  void* memory = nullptr;
  const no_cancellation in_upstream;  // which can't be told from what it throws below
  try {
    memory = depot_.try_allocate_record(sizeof(thread_cache), alignof(thread_cache));
  } catch (...) {  // a cache is a convenience: without one the request itself may still succeed
    return nullptr;
  }
  if (memory == nullptr) {
    return nullptr;
  }
  auto* cache = new (memory) thread_cache(depot_);
  cache->adopt();
  const scoped_lock guard(caches_lock_);
  cache->next = caches_;
  caches_ = cache;
  return cache;
}

void pool_engine::put_aside(thread_cache& cache) noexcept {
  const scoped_lock guard(caches_lock_);
  cache.leave();
}

void pool_engine::retire(void* cache) noexcept {
  auto& retired = *static_cast<thread_cache*>(cache);
  retired.retire();
  put_aside(retired);
}

// Gives the caches' own memory back. Returns what those in use still held, and takes over the hits of the
// others. Upstream may call back, so it is called when nothing here is half done.
pool_engine::in_caches pool_engine::free_caches(bool in_use_too) noexcept {
  in_caches held{};
  thread_cache* gone = nullptr;
  {
    const scoped_lock guard(caches_lock_);
    thread_cache** link = &caches_;
    while (*link != nullptr) {
      thread_cache* cache = *link;
      if (cache->in_use && !in_use_too) {
        link = &cache->next;
        continue;
      }
      *link = cache->next;
      cache->next = gone;
      gone = cache;
      add_to(held, *cache);
    }
  }
  while (gone != nullptr) {
    thread_cache* cache = gone;
    gone = cache->next;
    cache->forget();
    cache->~thread_cache();
    depot_.deallocate_record(cache, sizeof(thread_cache), alignof(thread_cache));
  }
  return held;
}

void pool_engine::add_to(in_caches& sums, const thread_cache& cache) noexcept {
  for (unsigned i = 0; i < cached_class_count; ++i) {
    sums[i].blocks += cache.slot(i).free_blocks();
    sums[i].hits += static_cast<std::uint64_t>(std::int64_t{cache.slot(i).popped});
  }
}

std::size_t pool_engine::trim(std::size_t keep_bytes) noexcept {
  const std::size_t held_before = account_.bytes();
  depot_.request_trim(keep_bytes);
  if (thread_cache* cache = known_cache(); cache != nullptr) {
    cache->flush_for_trim();
  }
  depot_.trim(keep_bytes);
  depot_.add_hits(free_caches(false));
  const std::size_t held_after = account_.bytes();
  return held_before - std::min(held_before, held_after);
}

void pool_engine::add_to(pool_statistics& statistics) const {
  in_caches held{};
  {
    const scoped_lock guard(caches_lock_);
    for (const thread_cache* cache = caches_; cache != nullptr; cache = cache->next) {
      statistics.overhead_bytes += sizeof(thread_cache);
      add_to(held, *cache);
    }
  }
  depot_.add_to(statistics, held);
}

// Those under which upstream is called come first: what it calls back takes the others.
bool pool_engine::each_lock(lock_visitor& visit) noexcept {
  return (beside_ == nullptr || beside_->each_lock(visit)) && depot_.each_lock(visit) && visit(caches_lock_);
}

}  // namespace cistern::detail
