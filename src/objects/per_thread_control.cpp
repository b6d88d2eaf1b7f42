#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/per_thread_control.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "object_pool_control.hpp"

namespace cistern::detail {

namespace {

constexpr std::uint32_t batch = object_cache::most_slots / 2;

const object_pool_options& validated_for_per_thread(const object_pool_options& options) {
  object_pool_options unbounded = options;
  unbounded.max_size = no_limit;  // it means nothing here, so it bounds nothing
  (void)validated(unbounded);
  if (options.order == reuse_order::fifo) {
    throw std::invalid_argument(
        "object_pool_options: order (fifo) has no meaning for per_thread pools, whose threads take what they "
        "gave back last");
  }
  return options;
}

}  // namespace

per_thread_control::per_thread_control(const object_pool_options& options,
                                       std::pmr::memory_resource* resource, slot_table::slot_type type,
                                       pool_clock clock)
    : object_pool_control(validated_for_per_thread(options), resource, type, clock),
      asymmetric_(asymmetric_fences()),
      time_mask_(is_system_clock(clock) ? 15 : 0) {
  limit_idle(options.max_idle);
  ticket_ = enroll(*this);
}

per_thread_control::~per_thread_control() {
  while (object_cache* const cache = std::exchange(caches_, caches_ != nullptr ? caches_->next : nullptr)) {
    std::pmr::polymorphic_allocator<>(resource()).delete_object(cache);
  }
}

duration::rep per_thread_control::read_time() const noexcept {
  return std::max<duration::rep>(coarse_now().time_since_epoch().count(), 1);
}

void per_thread_control::limit_idle(std::size_t max_idle) noexcept {
  max_idle_ = max_idle;
  cache_limit_ = static_cast<std::uint32_t>(std::min<std::size_t>(max_idle, object_cache::most_slots));
}

// ---- caches ----

// This thread's cache, made if necessary; null if that fails.
object_cache* per_thread_control::attach_cache() noexcept {
  if (object_cache* const cache = find_cache()) {
    return cache;
  }
  if (closed_ || !ticket_.thread_takes_caches()) {
    return nullptr;
  }
  object_cache* cache = free_caches_;
  const no_cancellation of_the_resource;
  try {
    if (cache == nullptr) {
      cache = std::pmr::polymorphic_allocator<>(resource()).new_object<object_cache>();
      cache->next = std::exchange(caches_, cache);
    } else {
      free_caches_ = cache->next_free;
    }
  } catch (...) {
    return nullptr;
  }
  if (!ticket_.remember(cache)) {
    cache->next_free = std::exchange(free_caches_, cache);
    return nullptr;
  }
  return cache;
}

void per_thread_control::retire(void* cache) noexcept {
  const section in(*this);
  // The owner itself, under the mutex: nobody else is at the list.
  take_back(*static_cast<object_cache*>(cache));
}

// Nobody has this cache any more.
void per_thread_control::take_back(object_cache& cache) noexcept {
  while (pool_slot* const slot = cache.pop()) {
    push_depot(*slot);
  }
  if (!closed_) {
    cache.next_free = std::exchange(free_caches_, &cache);
  }
}

// What they kept is for us. One that had just taken an object out, or hadn't put it in yet, has it for ever.
void per_thread_control::forget_other_threads() noexcept {
  object_pool_control::forget_other_threads();
  const object_cache* const mine = find_cache();
  free_caches_ = nullptr;
  for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    cache->forget_owner();
    if (cache != mine) {
      take_back(*cache);
    }
  }
}

void per_thread_control::push_depot(pool_slot& slot) noexcept {
  slot.link = std::exchange(depot_, &slot);
  ++depot_count_;
}

pool_slot* per_thread_control::pop_depot() noexcept {
  if (depot_ == nullptr) {
    return nullptr;
  }
  --depot_count_;
  return std::exchange(depot_, depot_->link);
}

void per_thread_control::fill_from_depot(object_cache& cache) noexcept {
  const std::uint32_t wanted = std::min(batch, cache_limit_);
  while (depot_ != nullptr && cache.count() < wanted) {
    cache.push(*pop_depot());
  }
}

// Moves half of what another thread keeps to the depot, and takes one of it.
pool_slot* per_thread_control::steal() noexcept {
  object_cache* const mine = find_cache();
  for (object_cache* victim = caches_; victim != nullptr; victim = victim->next) {
    if (victim == mine || victim->count() == 0 || !victim->try_claim(asymmetric_)) {
      continue;
    }
    for (std::uint32_t wanted = (victim->count() + 1) / 2; wanted > 0; --wanted) {
      push_depot(*victim->pop());
    }
    victim->unclaim();
    if (pool_slot* const slot = pop_depot()) {
      return slot;
    }
  }
  return nullptr;
}

// Takes the objects out of every cache and keeps their owners out until `unclaim_everything`.
pool_slot* per_thread_control::claim_everything() noexcept {
  for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    cache->claim(asymmetric_);
    while (pool_slot* const slot = cache->pop()) {
      push_depot(*slot);
    }
  }
  depot_count_ = 0;
  return std::exchange(depot_, nullptr);
}

void per_thread_control::unclaim_everything() noexcept {
  for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    cache->unclaim();
  }
}

std::size_t per_thread_control::idle_count() noexcept {
  std::size_t count = depot_count_;
  for (const object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    count += cache->count();
  }
  return count;
}

// Moves the older half of a full cache to the depot, so that the next objects find room again.
void per_thread_control::make_room(object_cache& cache) noexcept {
  if (cache.count() < cache_limit_) {
    return;
  }
  pool_slot* young = nullptr;
  for (std::uint32_t keep = cache_limit_ / 2; keep > 0; --keep) {
    pool_slot* const slot = cache.pop();
    slot->link = std::exchange(young, slot);
  }
  while (pool_slot* const old = cache.pop()) {
    push_depot(*old);
  }
  while (young != nullptr) {
    cache.push(*std::exchange(young, young->link));
  }
}

// ---- taking and giving back ----

pool_slot* per_thread_control::take_elsewhere() {
  const section in(*this);
  if (closed_) {
    refuse(pool_errc::closed);
  }
  object_cache* const cache = attach_cache();
  pool_slot* slot = cache != nullptr ? cache->pop() : nullptr;
  if (slot == nullptr) {
    slot = pop_depot();
  }
  if (slot == nullptr) {
    slot = steal();
  }
  if (slot != nullptr) {
    if (cache != nullptr) {
      fill_from_depot(*cache);
    }
    return slot;
  }
  accounts_.begin_creation();
  return nullptr;
}

void per_thread_control::expect_not_stopped(const acquire_request& request) {
  if (request.stop.stop_requested()) {
    const section in(*this);
    refuse(closed_ ? pool_errc::closed : pool_errc::cancelled);
  }
}

void per_thread_control::put_back(pool_slot& slot) noexcept {
  destroy_reason reason{};
  {
    const section in(*this);
    slot.acquired_at.store(-epoch_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    const bool stale = !of_this_generation(slot);
    if (!closed_ && !stale && idle_count() < max_idle_) {
      if (object_cache* const cache = attach_cache(); cache != nullptr) {
        make_room(*cache);
        if (cache->count() < cache_limit_) {
          cache->push(slot);
          return;
        }
      }
      push_depot(slot);
      return;
    }
    reason = closed_ ? destroy_reason::closed : stale ? destroy_reason::invalidated : destroy_reason::surplus;
  }
  dispose(slot, reason);
}

}  // namespace cistern::detail
