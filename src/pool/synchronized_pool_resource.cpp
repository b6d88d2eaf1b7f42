#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/pool/effective_options.hpp>
#include <cistern/resource_or_new_delete.hpp>
#include <cistern/synchronized_pool_resource.hpp>

#include <array>
#include <bit>
#include <cstring>
#include <mutex>
#include <new>

namespace cistern {

using namespace detail;  // NOLINT(google-build-using-namespace): the pool is made of these parts

synchronized_pool_resource::synchronized_pool_resource(const pool_options& options,
                                                       std::pmr::memory_resource* upstream)
    : depot_(effective_options(options), resource_or_new_delete(upstream)) {
  ticket_ = enroll(*this);
  table_offset_bytes_ = thread_table_offset(ticket_.id);
}

synchronized_pool_resource::~synchronized_pool_resource() {
  withdraw(ticket_);
  free_caches(true);
  depot_.release();
}

pool_options synchronized_pool_resource::from_standard(const std::pmr::pool_options& options) noexcept {
  return detail::from_standard(options);
}

void synchronized_pool_resource::release() noexcept {
  ticket_ = renew(ticket_);  // no thread finds its old cache any more
  free_caches(true);
  depot_.release();
}

void* synchronized_pool_resource::do_allocate(std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
  const std::size_t last = last_byte(bytes, alignment);
  void* block = nullptr;
  if (last < small_limit_bytes) [[likely]] {
    block = allocate_cached(small_class_of(last), bytes, alignment);
  } else if (last < largest_cached_block_bytes && alignment <= page_bytes) {
    block = allocate_cached(large_class_of(last), bytes, alignment);
  } else {
    block = allocate_slow(bytes, alignment);
  }
  asan_unpoison(block, bytes);
  return block;
}

void synchronized_pool_resource::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
  const std::size_t last = last_byte(bytes, alignment);
  if (last < small_limit_bytes) [[likely]] {
    deallocate_cached(small_class_of(last), block, bytes, alignment);
  } else if (last < largest_cached_block_bytes && alignment <= page_bytes) {
    deallocate_cached(large_class_of(last), block, bytes, alignment);
  } else {
    deallocate_slow(block, bytes, alignment);
  }
}

sized_block synchronized_pool_resource::allocate_at_least(std::size_t bytes, std::size_t alignment) {
  void* block = synchronized_pool_resource::do_allocate(bytes, alignment);
  const std::size_t granted = depot_.granted_bytes(bytes, alignment);
  asan_unpoison(block, granted);
  return {block, granted};
}

// No cache yet, or none in the table, or nothing in it, or the request is none of a cache's.
void* synchronized_pool_resource::allocate_slow(std::size_t bytes, std::size_t alignment) {
  const std::size_t last = last_byte(bytes, alignment);
  if (!depot_.is_pooled(last, alignment)) {
    if (bytes == 0 && !depot_.options().pass_through) {
      return allocate_slow(1, alignment);
    }
    return depot_.allocate_unpooled(bytes, alignment, cache_after_trims());
  }
  const unsigned index = class_of(last);
  void* block = try_allocate_pooled(index);
  if (block == nullptr) {
    depot_.refuse(index);
  }
  return block;
}

void* synchronized_pool_resource::try_allocate_pooled(unsigned index) {
  if (depot_.magazine_blocks(index) != 0) {
    if (thread_cache* cache = own_cache(); cache != nullptr) {
      return cache->try_refill(index);
    }
  }
  return depot_.try_allocate(index, cache_after_trims());
}

void synchronized_pool_resource::deallocate_slow(void* block, std::size_t bytes,
                                                 std::size_t alignment) noexcept {
  const std::size_t last = last_byte(bytes, alignment);
  if (!depot_.is_pooled(last, alignment)) {
    if (bytes == 0 && !depot_.options().pass_through) {
      deallocate_slow(block, 1, alignment);
    } else {
      cache_after_trims();
      depot_.deallocate_unpooled(block, bytes, alignment);
    }
    return;
  }
  const unsigned index = class_of(last);
  if (depot_.options().zero_on_free) {
    asan_unpoison(block, class_block_bytes(index));
    std::memset(block, 0, class_block_bytes(index));
  }
  deallocate_pooled(index, block);
}

void synchronized_pool_resource::deallocate_pooled(unsigned index, void* block) noexcept {
  if (depot_.magazine_blocks(index) != 0) {
    if (thread_cache* cache = own_cache(); cache != nullptr) {
      cache->take_back(index, block);
      return;
    }
  }
  cache_after_trims();
  depot_.deallocate(index, block);
}

// The slow paths past the cache: a thread that uses nothing but large blocks honours trims as well.
thread_cache* synchronized_pool_resource::cache_after_trims() noexcept {
  thread_cache* cache = known_cache();
  if (cache != nullptr) {
    cache->honour_trim();
  }
  return cache;
}

// Null where there is no memory for a cache, and at the end of the thread: the thread then works on the depot
// directly.
thread_cache* synchronized_pool_resource::own_cache() noexcept {
  if (thread_cache* cache = known_cache(); cache != nullptr) {
    return cache;
  }
  if (thread_is_ending()) {
    return nullptr;
  }
  thread_cache* cache = idle_or_new_cache();
  if (cache != nullptr && !remember_cache(ticket_, *cache)) {
    put_aside(*cache);
    return nullptr;
  }
  return cache;
}

thread_cache* synchronized_pool_resource::idle_or_new_cache() noexcept {
  const std::lock_guard guard(caches_lock_);
  thread_cache* cache = caches_;
  while (cache != nullptr && cache->in_use) {
    cache = cache->next;
  }
  if (cache == nullptr) {
    cache = new_cache();
  }
  if (cache != nullptr) {
    cache->adopt();
    depot_.cache_taken();
  }
  return cache;
}

// Called with the lock for caches held, as upstream must never be entered without a lock that `before_fork`
// takes: a child would find upstream's own locks held for ever.
thread_cache* synchronized_pool_resource::new_cache() noexcept {
  constexpr std::size_t least_room_bytes = 8 * sizeof(thread_cache);
  if (depot_.account().available_bytes() < least_room_bytes) {
    return nullptr;  // what is left of `max_bytes` is for the user
  }
  void* memory = nullptr;
  try {
    memory = depot_.account().try_allocate(sizeof(thread_cache), alignof(thread_cache));
  } catch (...) {  // a cache is a convenience: without one the request itself may still succeed
    return nullptr;
  }
  if (memory == nullptr) {
    return nullptr;
  }
  auto* cache = new (memory) thread_cache(depot_);
  cache->next = caches_;
  caches_ = cache;
  return cache;
}

void synchronized_pool_resource::put_aside(thread_cache& cache) noexcept {
  const std::lock_guard guard(caches_lock_);
  cache.in_use = false;
  depot_.cache_given_up();
}

void synchronized_pool_resource::retire(thread_cache& cache) noexcept {
  cache.flush();
  put_aside(cache);
  depot_.look_for_idle_chunks();
}

// Gives the caches' own memory back, after taking over their counters.
void synchronized_pool_resource::free_caches(bool in_use_too) noexcept {
  const std::lock_guard guard(caches_lock_);
  thread_cache** link = &caches_;
  while (*link != nullptr) {
    thread_cache* cache = *link;
    if (cache->in_use && !in_use_too) {
      link = &cache->next;
      continue;
    }
    *link = cache->next;
    if (cache->in_use) {
      depot_.cache_given_up();
    }
    for (unsigned i = 0; i < cached_class_count; ++i) {
      const cache_slot& slot = cache->slot(i);
      depot_.abandon(i, static_cast<std::uint64_t>(std::int64_t{slot.popped}), slot.free_blocks());
    }
    cache->~thread_cache();
    depot_.account().deallocate(cache, sizeof(thread_cache), alignof(thread_cache));
  }
}

std::size_t synchronized_pool_resource::trim(std::size_t keep_bytes) noexcept {
  const std::size_t held_before = depot_.account().bytes();
  depot_.request_trim(keep_bytes);
  if (thread_cache* cache = known_cache(); cache != nullptr) {
    cache->flush_for_trim();
  }
  depot_.trim(keep_bytes);
  free_caches(false);
  const std::size_t held_after = depot_.account().bytes();
  return held_before - std::min(held_before, held_after);
}

pool_statistics synchronized_pool_resource::statistics() const {
  std::array<depot::cached, cached_class_count> in_caches{};
  std::size_t cache_bytes = 0;
  {
    const std::lock_guard guard(caches_lock_);
    for (const thread_cache* cache = caches_; cache != nullptr; cache = cache->next) {
      cache_bytes += sizeof(thread_cache);
      for (unsigned i = 0; i < cached_class_count; ++i) {
        in_caches[i].blocks += cache->slot(i).free_blocks();
        in_caches[i].hits += static_cast<std::uint64_t>(std::int64_t{cache->slot(i).popped});
      }
    }
  }
  pool_statistics statistics = depot_.statistics(in_caches);
  statistics.overhead_bytes += cache_bytes;
  return statistics;
}

void synchronized_pool_resource::check_invariants() const noexcept {
  depot_.check_invariants();
}

void synchronized_pool_resource::before_fork() noexcept {
  caches_lock_.lock();
  depot_.lock_all();
}

void synchronized_pool_resource::after_fork() noexcept {
  depot_.unlock_all();
  caches_lock_.unlock();
}

}  // namespace cistern
