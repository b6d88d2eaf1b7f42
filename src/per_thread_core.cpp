#include <cistern/detail/per_thread_core.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "object_pool_control.hpp"
#include "per_thread_registry.hpp"

namespace cistern::detail {

namespace {

constexpr std::uint32_t batch = object_cache::most_slots / 2;
// How often an idle pool wants to be trimmed if no `idle_timeout` says otherwise.
constexpr duration trim_period = std::chrono::minutes{1};

const object_pool_options& validated_for_per_thread(const object_pool_options& options) {
  object_pool_options unbounded = options;
  unbounded.max_size = npos;  // it means nothing here, so it bounds nothing
  (void)validated(unbounded);
  if (options.order == reuse_order::fifo) {
    throw std::invalid_argument(
        "object_pool_options: order (fifo) has no meaning for per_thread pools: each thread takes what it "
        "gave "
        "back last");
  }
  return options;
}

}  // namespace

per_thread_core::per_thread_core(const object_pool_options& options, std::pmr::memory_resource* resource,
                                 slot_table::slot_type type, pool_clock clock)
    : object_pool_control(validated_for_per_thread(options), resource, type, clock),
      asymmetric_(asymmetric_fences()),
      time_mask_(is_system_clock(clock) ? 15 : 0) {
  limit_idle(options.max_idle);
  const pool_identity identity = register_pool(*this);
  number_ = identity.number;
  serial_ = identity.serial;
}

per_thread_core::~per_thread_core() {
  while (object_cache* const cache = std::exchange(caches_, caches_ != nullptr ? caches_->next : nullptr)) {
    std::pmr::polymorphic_allocator<>(resource()).delete_object(cache);
  }
}

duration::rep per_thread_core::read_time() const noexcept {
  return std::max<duration::rep>(coarse_now().time_since_epoch().count(), 1);
}

void per_thread_core::limit_idle(std::size_t max_idle) noexcept {
  max_idle_ = max_idle;
  cache_limit_ = static_cast<std::uint32_t>(std::min<std::size_t>(max_idle, object_cache::most_slots));
}

// ---- caches ----

// This thread's cache, made if necessary; null if that fails.
object_cache* per_thread_core::attach_cache() noexcept {
  if (object_cache* const cache = find_cache()) {
    return cache;
  }
  if (closed_) {
    return nullptr;
  }
  object_cache* cache = free_caches_;
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
  if (!remember_cache({number_, serial_}, cache)) {
    cache->next_free = std::exchange(free_caches_, cache);
    return nullptr;
  }
  return cache;
}

void per_thread_core::retire(object_cache& cache) noexcept {
  const section in(*this);
  // The owner itself, under the mutex: nobody else is at the list.
  while (pool_slot* const slot = cache.pop()) {
    push_depot(*slot);
  }
  if (!closed_) {
    cache.next_free = std::exchange(free_caches_, &cache);
  }
}

void per_thread_core::push_depot(pool_slot& slot) noexcept {
  slot.link = std::exchange(depot_, &slot);
  ++depot_count_;
}

pool_slot* per_thread_core::pop_depot() noexcept {
  if (depot_ == nullptr) {
    return nullptr;
  }
  --depot_count_;
  return std::exchange(depot_, depot_->link);
}

void per_thread_core::fill_from_depot(object_cache& cache) noexcept {
  const std::uint32_t wanted = std::min(batch, cache_limit_);
  while (depot_ != nullptr && cache.count() < wanted) {
    cache.push(*pop_depot());
  }
}

// Moves half of what another thread keeps to the depot, and takes one of it.
pool_slot* per_thread_core::steal() noexcept {
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
pool_slot* per_thread_core::claim_everything() noexcept {
  for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    cache->claim(asymmetric_);
    while (pool_slot* const slot = cache->pop()) {
      push_depot(*slot);
    }
  }
  depot_count_ = 0;
  return std::exchange(depot_, nullptr);
}

void per_thread_core::unclaim_everything() noexcept {
  for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    cache->unclaim();
  }
}

std::size_t per_thread_core::idle_count() noexcept {
  std::size_t count = depot_count_;
  for (const object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    count += cache->count();
  }
  return count;
}

// Moves the older half of a full cache to the depot, so that the next objects find room again.
void per_thread_core::make_room(object_cache& cache) noexcept {
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

pool_slot* per_thread_core::take_elsewhere() {
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

void per_thread_core::expect_not_stopped(const acquire_request& request) {
  if (request.stop.stop_requested()) {
    const section in(*this);
    refuse(closed_ ? pool_errc::closed : pool_errc::cancelled);
  }
}

void per_thread_core::put_back(pool_slot& slot) noexcept {
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

// ---- the whole pool ----

pool_slot* per_thread_core::take_all_idle() noexcept {
  const section in(*this);
  pool_slot* const all = claim_everything();
  if (!closed_) {
    unclaim_everything();
  }
  return all;
}

void per_thread_core::put_all_back(pool_slot* first) noexcept {
  while (first != nullptr) {
    put_back(*std::exchange(first, first->link));
  }
}

// There is no bound on the objects in use, so it is the idle ones that are bounded.
void per_thread_core::resize(std::size_t max_size) {
  object_pool_options changed;
  changed.max_size = max_size;
  (void)validated(changed);
  pool_slot* surplus = nullptr;
  {
    const section in(*this);
    if (closed_) {
      return;
    }
    surplus = claim_everything();
    limit_idle(max_size);
    for (std::size_t kept = 0; kept < max_size && surplus != nullptr; ++kept) {
      push_depot(*std::exchange(surplus, surplus->link));
    }
    unclaim_everything();
  }
  dispose_all(surplus, destroy_reason::surplus);
}

void per_thread_core::invalidate_all() noexcept {
  pool_slot* gone = nullptr;
  {
    const section in(*this);
    // Before the claims: an owner that comes after its cache was claimed sees it.
    generation_.fetch_add(1, std::memory_order_relaxed);
    gone = claim_everything();
    if (!closed_) {
      unclaim_everything();
    }
  }
  dispose_all(gone, destroy_reason::invalidated);
}

template <class Condition>
pool_slot* per_thread_core::take_if(Condition goes) noexcept {
  pool_slot* gone = nullptr;
  const auto sort_out = [&](pool_slot& slot, pool_slot*& kept) {
    pool_slot*& list = goes(slot) ? gone : kept;
    slot.link = std::exchange(list, &slot);
  };
  pool_slot* kept = nullptr;
  while (pool_slot* const slot = pop_depot()) {
    sort_out(*slot, kept);
  }
  while (kept != nullptr) {
    push_depot(*std::exchange(kept, kept->link));
  }
  for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    if (cache->count() == 0) {
      continue;  // what it gets from now on is fresh
    }
    cache->claim(asymmetric_);
    while (pool_slot* const slot = cache->pop()) {
      sort_out(*slot, kept);
    }
    while (kept != nullptr) {
      cache->push(*std::exchange(kept, kept->link));
    }
    cache->unclaim();
  }
  return gone;
}

std::size_t per_thread_core::trim(std::size_t keep_idle) noexcept {
  pool_slot* gone = nullptr;
  std::size_t count = 0;
  {
    const section in(*this);
    if (closed_) {
      return 0;
    }
    const duration::rep epoch = epoch_.fetch_add(1, std::memory_order_relaxed) + 1;
    const std::size_t idle = idle_count();
    gone = take_if([&](const pool_slot& slot) {
      const bool faded = epoch + slot.acquired_at.load(std::memory_order_relaxed) >= 2;
      const bool goes = faded && count + keep_idle < idle;
      count += goes ? 1 : 0;
      return goes;
    });
  }
  dispose_all(gone, destroy_reason::idle);
  return count;
}

// With an `idle_timeout`, what is too old by the clock; without one, a tick of `trim`. What is past its
// lifetime in any case.
time_point per_thread_core::maintain(time_point time) {
  const bool by_clock = options_.idle_timeout != off;
  if (!by_clock) {
    trim(options_.min_idle);
  }
  time_point next = time_point::max();
  pool_slot* gone = nullptr;
  {
    const section in(*this);
    std::size_t left = idle_count();
    const auto goes = [&](pool_slot& slot) {
      const time_point fades = by_clock ? later(slot.idle_since, options_.idle_timeout) : time_point::max();
      const bool expired = slot.expires_at <= time;
      slot.reason = expired ? destroy_reason::expired : destroy_reason::idle;
      if (expired || (fades <= time && left > options_.min_idle)) {
        --left;
        return true;
      }
      next = std::min(next, fades <= time ? slot.expires_at : std::min(fades, slot.expires_at));
      return false;
    };
    gone = closed_ ? nullptr : take_if(goes);
  }
  dispose_all(gone);
  refill(std::max(time, now()));
  const section in(*this);
  if (failures_ > 0 && idle_count() < options_.min_idle) {
    next = std::min(next, retry_at_);
  }
  const bool may_fade = !by_clock && idle_count() > options_.min_idle;
  return may_fade ? std::min(next, later(time, trim_period)) : next;
}

void per_thread_core::close() noexcept {
  pool_slot* gone = nullptr;
  {
    const section in(*this);
    closed_ = true;
    gone = claim_everything();  // for good: from now on every thread takes the slow path, and finds it closed
  }
  dispose_all(gone, destroy_reason::closed);
}

void per_thread_core::orphan() noexcept {
  unregister_pool({number_, serial_});
  object_pool_control::orphan();
}

// ---- reports ----

void per_thread_core::report(object_pool_statistics& s) noexcept {
  const auto add = [&](const pool_slot& slot) { s.retained_bytes += slot.retained_bytes; };
  for (const pool_slot* slot = depot_; slot != nullptr; slot = slot->link) {
    add(*slot);
  }
  if (closed_) {
    return;  // the caches are empty, and claimed for good
  }
  for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    if (cache->count() > 0) {
      cache->claim(asymmetric_);
      cache->for_each(add);
      cache->unclaim();
    }
  }
}

bool per_thread_core::policy_invariants() noexcept {
  std::size_t in_depot = 0;
  for (const pool_slot* slot = depot_; slot != nullptr; slot = slot->link) {
    ++in_depot;
  }
  return in_depot == depot_count_ && (!closed_ || idle_count() == 0);
}

}  // namespace cistern::detail
