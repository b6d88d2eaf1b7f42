#include <cistern/detail/objects/shared_control.hpp>

#include <algorithm>
#include <utility>

#include "object_pool_control.hpp"

namespace cistern::detail {

shared_control::shared_control(const object_pool_options& options, std::pmr::memory_resource* resource,
                               slot_table::slot_type type, pool_clock clock)
    : object_pool_control(validated(options), resource, type, clock),
      idle_(slots(), options.order, options.max_idle),
      max_size_(options.max_size) {
  idle_.open();
}

bool shared_control::unlocking() noexcept {
  if (!closed_ && waiters_.empty() && accounts_.total() <= max_size_) {
    idle_.open();
  }
  const bool resumes =
      !ready_.empty() && loops_here() == 0 && ready_.first_for(this_thread_number()) != nullptr;
  if (resumes) {
    begin_resuming();
  }
  return resumes;
}

// ---- giving back ----

std::optional<destroy_reason> shared_control::surplus_reason(const pool_slot& slot) noexcept {
  if (closed_) {
    return destroy_reason::closed;
  }
  if (!of_this_generation(slot)) {
    return destroy_reason::invalidated;
  }
  const bool enough_idle =
      options_.max_idle != no_limit && waiters_.empty() && idle_.count() >= options_.max_idle;
  if (accounts_.total() > max_size_ || enough_idle) {
    return destroy_reason::surplus;
  }
  return std::nullopt;
}

void shared_control::put_back(pool_slot& slot) noexcept {
  std::optional<destroy_reason> reason;
  {
    section in(*this);
    slot.acquired_at.store(not_leased, std::memory_order_relaxed);
    reason = surplus_reason(slot);
    if (!reason) {
      idle_.push(slot);
      serve_waiters();
      return;
    }
  }
  dispose(slot, *reason);
}

// Throws in here, because the pool may go together with the object: one that waits may outlive it.
std::optional<pool_grant> shared_control::replace(pool_slot& slot, destroy_reason reason,
                                                  const acquire_request& request, bool insists) {
  section in(*this);
  accounts_.remove(slot, reason);
  const bool over = closed_ || is_over(request);
  if (pool_slot* const other = over ? nullptr : idle_.pop()) {
    serve_waiters();
    return pool_grant{other};
  }
  if (!over && (insists || (accounts_.total() < max_size_ && may_retry_factory(now())))) {
    accounts_.begin_creation();
    return pool_grant{};
  }
  serve_waiters();
  note_vacancy();
  if (request.may_wait) {
    refuse_if_over(request);
  }
  return std::nullopt;
}

void shared_control::return_grant(pool_grant grant) noexcept {
  if (grant.slot != nullptr) {
    put_back(*grant.slot);
    return;
  }
  cancel_creation(nullptr);
}

// ---- the whole pool ----

bool shared_control::has_room_to_adopt() noexcept {
  return accounts_.total() < max_size_ && (!waiters_.empty() || idle_.count() < options_.max_idle);
}

bool shared_control::has_room_to_idle() noexcept {
  return accounts_.total() < max_size_ && waiters_.empty() && idle_.count() < options_.max_idle;
}

pool_slot* shared_control::take_all_idle() noexcept {
  const section in(*this);
  return idle_.take_all();
}

void shared_control::put_all_back(pool_slot* first) noexcept {
  // LIFO: the last one put back is given out first, so begin with the end of the list.
  if (options_.order == reuse_order::lifo) {
    pool_slot* reversed = nullptr;
    while (first != nullptr) {
      pool_slot* const slot = std::exchange(first, first->link);
      slot->link = std::exchange(reversed, slot);
    }
    first = reversed;
  }
  while (first != nullptr) {
    put_back(*std::exchange(first, first->link));
  }
}

void shared_control::invalidate_all() noexcept {
  pool_slot* idle_ones = nullptr;
  {
    const section in(*this);
    // Relaxed: whoever keeps an object reads it after loading the head that the end of this section releases.
    generation_.fetch_add(1, std::memory_order_relaxed);
    idle_ones = idle_.take_all();
  }
  dispose_all(idle_ones, destroy_reason::invalidated);
}

void shared_control::resize(std::size_t max_size) {
  object_pool_options changed = options_;
  changed.max_size = max_size;
  changed.initial = changed.min_idle = 0;
  (void)validated(changed);
  pool_slot* too_many = nullptr;
  {
    section in(*this);
    max_size_ = max_size;
    const std::size_t total = accounts_.total();
    too_many_ = total > max_size;
    const std::size_t excess = total > max_size ? std::min(total - max_size, idle_.count()) : 0;
    too_many = excess > 0 ? idle_.take_all_but(idle_.count() - excess) : nullptr;
    serve_waiters();
  }
  dispose_all(too_many, destroy_reason::surplus);
}

std::size_t shared_control::trim(std::size_t keep_idle) noexcept {
  pool_slot* gone = nullptr;
  std::size_t count = 0;
  {
    const section in(*this);
    count = idle_.count() > keep_idle ? idle_.count() - keep_idle : 0;
    gone = count > 0 ? idle_.take_all_but(keep_idle) : nullptr;
  }
  dispose_all(gone, destroy_reason::surplus);
  return count;
}

void shared_control::close() noexcept {
  pool_slot* idle_ones = nullptr;
  {
    section in(*this);
    closed_ = true;
    while (waiter* const one = waiters_.front()) {
      settle(*one, wait_outcome::closed);
    }
    idle_ones = idle_.take_all();
  }
  dispose_all(idle_ones, destroy_reason::closed);
}

// ---- time ----

time_point shared_control::maintain(time_point time) {
  pool_slot* gone = nullptr;
  {
    section in(*this);
    note_time();
    for (waiter* one = waiters_.front(); one != nullptr;) {
      waiter& late = *std::exchange(one, one->next);
      if (late.deadline != time_point::max() && late.deadline <= time) {
        settle(late, wait_outcome::timeout);
      }
    }
    gone = expire_idle(time);
    serve_waiters(std::max(time, now()));
  }
  dispose_all(gone);
  refill(std::max(time, now()));
  const section in(*this);
  return next_work();
}

// Takes out the idle objects that are too old, as a list through `link` with the reason in each. What would
// be given out last goes first, as long as more than `min_idle` are left.
pool_slot* shared_control::expire_idle(time_point time) noexcept {
  pool_slot* gone = nullptr;
  pool_slot* in_order = nullptr;  // within their lifetime; the one to be given out last comes first
  std::size_t left = 0;
  for (pool_slot* all = idle_.take_all(); all != nullptr;) {
    pool_slot* const slot = std::exchange(all, all->link);
    const bool expired = slot->expires_at <= time;
    slot->reason = destroy_reason::expired;
    pool_slot*& list = expired ? gone : in_order;
    slot->link = std::exchange(list, slot);
    left += expired ? 0 : 1;
  }
  pool_slot* kept = nullptr;  // the one to be given out first comes first
  while (in_order != nullptr) {
    pool_slot* const slot = std::exchange(in_order, in_order->link);
    const bool idle_too_long = options_.idle_timeout != forever && left > options_.min_idle &&
                               later(slot->idle_since, options_.idle_timeout) <= time;
    if (idle_too_long) {
      --left;
      slot->reason = destroy_reason::idle;
    }
    pool_slot*& list = idle_too_long ? gone : kept;
    slot->link = std::exchange(list, slot);
  }
  idle_.put_back_all(kept);
  return gone;
}

time_point shared_control::next_work() noexcept {
  time_point next = time_point::max();
  for (const waiter* one = waiters_.front(); one != nullptr; one = one->next) {
    next = std::min(next, one->deadline);
  }
  if (failures_ > 0 && (!waiters_.empty() || idle_.count() < options_.min_idle)) {
    next = std::min(next, retry_at_);
  }
  const bool may_fade = options_.idle_timeout != forever && idle_.count() > options_.min_idle;
  idle_.for_each([&](const pool_slot& slot) {
    next = std::min(next, slot.expires_at);
    if (may_fade) {
      next = std::min(next, later(slot.idle_since, options_.idle_timeout));
    }
  });
  return next;
}

// ---- reports ----

void shared_control::report(object_pool_statistics& s) noexcept {
  s.waiting = waiters_.size();
  s.waited = waited_;
  s.wait_time = wait_time_;
  idle_.for_each([&](const pool_slot& slot) { s.retained_bytes += slot.retained_bytes; });
}

bool shared_control::policy_invariants() noexcept {
  std::size_t listed = 0;
  bool none_leased = true;
  idle_.for_each([&](const pool_slot& slot) {
    ++listed;
    none_leased = none_leased && !slot.leased();
  });
  const bool starved = idle_.empty() && (accounts_.total() >= max_size_ || failures_ > 0);
  return none_leased && listed == idle_.count() && (waiters_.empty() || (starved && !closed_));
}

}  // namespace cistern::detail
