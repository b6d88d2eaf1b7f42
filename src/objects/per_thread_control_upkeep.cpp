// Upkeep of a per-thread pool as a whole: bounds, fading, the end, reports.
#include <cistern/detail/objects/per_thread_control.hpp>

#include <algorithm>
#include <utility>

#include "object_pool_control.hpp"

namespace cistern::detail {

namespace {

// How often an idle pool wants to be trimmed if no `idle_timeout` says otherwise.
constexpr duration trim_period = std::chrono::minutes{1};

}  // namespace

pool_slot* per_thread_control::take_all_idle() noexcept {
  const section in(*this);
  pool_slot* const all = claim_everything();
  if (!closed_) {
    unclaim_everything();
  }
  return all;
}

void per_thread_control::put_all_back(pool_slot* first) noexcept {
  while (first != nullptr) {
    put_back(*std::exchange(first, first->link));
  }
}

// There is no bound on the objects in use, so it is the idle ones that are bounded.
void per_thread_control::resize(std::size_t max_size) {
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

void per_thread_control::invalidate_all() noexcept {
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
pool_slot* per_thread_control::take_if(Condition goes) noexcept {
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

std::size_t per_thread_control::trim(std::size_t keep_idle) noexcept {
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
time_point per_thread_control::maintain(time_point time) {
  const bool by_clock = options_.idle_timeout != forever;
  if (!by_clock) {
    trim(options_.min_idle);
  }
  time_point next = time_point::max();
  pool_slot* gone = nullptr;
  {
    const section in(*this);
    note_time();
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

void per_thread_control::close() noexcept {
  pool_slot* gone = nullptr;
  {
    const section in(*this);
    closed_ = true;
    gone = claim_everything();  // for good: from now on every thread takes the slow path, and finds it closed
  }
  dispose_all(gone, destroy_reason::closed);
}

void per_thread_control::orphan() noexcept {
  ticket_.withdraw();
  object_pool_control::orphan();
}

// ---- reports ----

void per_thread_control::report(object_pool_statistics& s) noexcept {
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

bool per_thread_control::policy_invariants() noexcept {
  std::size_t in_depot = 0;
  for (const pool_slot* slot = depot_; slot != nullptr; slot = slot->link) {
    ++in_depot;
  }
  return in_depot == depot_count_ && (!closed_ || idle_count() == 0);
}

}  // namespace cistern::detail
