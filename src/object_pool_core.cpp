#include "object_pool_core.hpp"

#include <cistern/detail/object_pool_core.hpp>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>
#include <new>
#include <random>
#include <stdexcept>
#include <utility>

#include "object_pool_common.hpp"

namespace cistern::detail {

namespace {

constexpr duration first_pause = std::chrono::milliseconds{10};

// The next number of the splitmix64 sequence, as a fraction from 0 to below 1.
double next_fraction(std::uint64_t& state) noexcept {
  state += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

}  // namespace

std::uint64_t next_thread_number() noexcept {
  static std::atomic<std::uint64_t> last{0};
  // Relaxed: only uniqueness matters.
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

object_pool_core::object_pool_core(const object_pool_options& options, std::pmr::memory_resource* resource,
                                   slot_table::slot_type type, pool_clock clock)
    : options_(validated(options)),
      resource_(resource),
      clock_(clock),
      slots_(resource, type),
      idle_(slots_, options.order, options.max_idle),
      max_size_(options.max_size),
      // Different in every process, so that a fleet's connections don't all expire in the same second.
      jitter_state_(static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) ^
                    reinterpret_cast<std::uintptr_t>(this)) {
  const section in(*this);
}

// ---- modes ----

void object_pool_core::open_unless_needed() noexcept {
  if (!closed_ && waiters_.empty() && total_ <= max_size_) {
    idle_.open();
  }
}

// ---- slots ----

pool_slot& object_pool_core::take_vacant() {
  if (vacant_ == nullptr && slots_used_ == slots_.slots()) {
    slots_.add_block();
  }
  pool_slot* slot = vacant_;
  if (slot != nullptr) {
    vacant_ = slot->link;
  } else {
    slot = &slots_[++slots_used_];
  }
  slot->link = nullptr;
  slot->home = this;
  slot->generation = generation_.load(std::memory_order_relaxed);
  return *slot;
}

// The object in `slot` is gone; its place is free for another.
void object_pool_core::release_slot(pool_slot& slot, destroy_reason reason) noexcept {
  ++destroyed_[static_cast<std::size_t>(reason)];
  retired_uses_ += slot.uses.load(std::memory_order_relaxed);
  slot.uses.store(0, std::memory_order_relaxed);
  slot.acquired_at.store(not_leased, std::memory_order_relaxed);
  slot.link = vacant_;
  vacant_ = &slot;
}

void object_pool_core::begin_life(pool_slot& slot) noexcept {
  slot.created_at = slot.idle_since = now();
  slot.retained_bytes = 0;
  slot.expires_at = time_point::max();
  // A lifetime of centuries needs no jitter, and could overflow.
  if (options_.max_lifetime < off / 2) {
    const double share = 1.0 - options_.lifetime_jitter * next_fraction(jitter_state_);
    const auto lifetime =
        duration{static_cast<duration::rep>(static_cast<double>(options_.max_lifetime.count()) * share)};
    slot.expires_at = later(slot.created_at, std::min(lifetime, options_.max_lifetime));
  }
}

// ---- creation ----

bool object_pool_core::may_retry_factory(time_point time) const noexcept {
  // While the factory fails, one attempt at a time, with pauses between.
  return failures_ == 0 || (creating_ == 0 && time >= retry_at_);
}

pool_slot& object_pool_core::create_granted() {
  pool_slot* slot = nullptr;
  try {
    const section in(*this);
    slot = &take_vacant();
  } catch (...) {
    section in(*this);
    --creating_;
    --total_;
    serve_waiters(in);
    throw;
  }
  try {
    construct_object(*slot);
  } catch (...) {
    const std::exception_ptr cause = std::current_exception();
    creation_failed(slot, cause);
    throw_factory_failed(cause);
  }
  std::exception_ptr dropped;  // destroyed after the section: exceptions are user code
  section in(*this);
  --creating_;
  ++created_;
  failures_ = 0;
  dropped.swap(last_failure_);
  begin_life(*slot);
  serve_waiters(in);
  return *slot;
}

void object_pool_core::creation_failed(pool_slot* slot, const std::exception_ptr& cause) noexcept {
  std::exception_ptr recorded = cause;  // afterwards the one before; destroyed after the section
  section in(*this);
  --creating_;
  --total_;
  slot->link = vacant_;
  vacant_ = slot;
  ++factory_failures_;
  failures_ = std::min(failures_ + 1, 30U);
  const duration pause = first_pause * (std::int64_t{1} << (failures_ - 1));
  retry_at_ = later(now(), std::min(pause, options_.backoff_max));
  last_failure_.swap(recorded);
  serve_waiters(in);
}

// ---- giving back ----

std::optional<destroy_reason> object_pool_core::surplus_reason(const pool_slot& slot) noexcept {
  if (closed_) {
    return destroy_reason::closed;
  }
  if (slot.generation != generation_.load(std::memory_order_relaxed)) {
    return destroy_reason::invalidated;
  }
  const bool enough_idle =
      options_.max_idle != npos && waiters_.empty() && idle_.count() >= options_.max_idle;
  if (total_ > max_size_ || enough_idle) {
    return destroy_reason::surplus;
  }
  return std::nullopt;
}

void object_pool_core::put_back(pool_slot& slot) noexcept {
  std::optional<destroy_reason> reason;
  {
    section in(*this);
    slot.acquired_at.store(not_leased, std::memory_order_relaxed);
    reason = surplus_reason(slot);
    if (!reason) {
      idle_.push(slot);
      serve_waiters(in);
      return;
    }
  }
  dispose(slot, *reason);
}

void object_pool_core::dispose(pool_slot& slot, destroy_reason reason) noexcept {
  destroy_object(slot);
  vacate(slot, reason);
}

void object_pool_core::vacate(pool_slot& slot, destroy_reason reason) noexcept {
  section in(*this);
  release_slot(slot, reason);
  --total_;
  serve_waiters(in);
  if (total_ == 0) {
    drained_.notify_all();
  }
}

void object_pool_core::dispose_all(pool_slot* first, destroy_reason reason) noexcept {
  for (pool_slot* slot = first; slot != nullptr; slot = slot->link) {
    slot->reason = reason;
  }
  dispose_all(first);
}

void object_pool_core::dispose_all(pool_slot* first) noexcept {
  while (first != nullptr) {
    pool_slot& slot = *std::exchange(first, first->link);
    dispose(slot, slot.reason);
  }
}

std::optional<pool_grant> object_pool_core::replace(pool_slot& slot, destroy_reason reason,
                                                    bool insists) noexcept {
  section in(*this);
  release_slot(slot, reason);
  if (pool_slot* const other = closed_ ? nullptr : idle_.pop()) {
    --total_;
    serve_waiters(in);
    return pool_grant{other};
  }
  if (!closed_ && (insists || (total_ <= max_size_ && may_retry_factory(now())))) {
    ++creating_;
    return pool_grant{};
  }
  --total_;
  serve_waiters(in);
  if (total_ == 0) {
    drained_.notify_all();
  }
  return std::nullopt;
}

void object_pool_core::give_up_if_late(pool_slot& slot, const acquire_request& request) {
  pool_errc why{};
  {
    const section in(*this);
    if (closed_) {
      why = pool_errc::closed;
    } else if (request.stop.stop_requested()) {
      why = pool_errc::cancelled;
    } else if (request.deadline != time_point::max() && now() >= request.deadline) {
      why = pool_errc::timeout;
    } else {
      return;
    }
  }
  put_back(slot);
  const section in(*this);
  refuse(why);
}

// ---- adoption ----

pool_slot* object_pool_core::reserve_for_adoption() {
  const section in(*this);
  const bool room = total_ < max_size_ && (!waiters_.empty() || idle_.count() < options_.max_idle);
  if (closed_ || !room) {
    return nullptr;
  }
  pool_slot& slot = take_vacant();
  ++total_;
  ++creating_;
  return &slot;
}

void object_pool_core::cancel_adoption(pool_slot& slot) noexcept {
  section in(*this);
  slot.link = vacant_;
  vacant_ = &slot;
  --total_;
  --creating_;
  serve_waiters(in);
}

void object_pool_core::finish_adoption(pool_slot& slot) noexcept {
  {
    const section in(*this);
    --creating_;
    ++adopted_;
    begin_life(slot);
  }
  put_back(slot);
}

// ---- the whole pool ----

pool_slot* object_pool_core::take_all_idle() noexcept {
  const section in(*this);
  return idle_.take_all();
}

void object_pool_core::put_all_back(pool_slot* first) noexcept {
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

void object_pool_core::invalidate_all() noexcept {
  pool_slot* idle_ones = nullptr;
  {
    const section in(*this);
    // Relaxed: whoever pushes reads it after loading the head that the end of this section releases.
    generation_.fetch_add(1, std::memory_order_relaxed);
    idle_ones = idle_.take_all();
  }
  dispose_all(idle_ones, destroy_reason::invalidated);
}

void object_pool_core::resize(std::size_t max_size) {
  object_pool_options changed = options_;
  changed.max_size = max_size;
  changed.initial = changed.min_idle = 0;
  (void)validated(changed);
  pool_slot* too_many = nullptr;
  {
    section in(*this);
    max_size_ = max_size;
    const std::size_t excess = total_ > max_size ? std::min(total_ - max_size, idle_.count()) : 0;
    too_many = idle_.take_all_but(idle_.count() - excess);
    serve_waiters(in);
  }
  dispose_all(too_many, destroy_reason::surplus);
}

std::size_t object_pool_core::trim(std::size_t keep_idle) noexcept {
  pool_slot* gone = nullptr;
  std::size_t count = 0;
  {
    const section in(*this);
    count = idle_.count() > keep_idle ? idle_.count() - keep_idle : 0;
    gone = idle_.take_all_but(keep_idle);
  }
  dispose_all(gone, destroy_reason::surplus);
  return count;
}

void object_pool_core::warm(std::size_t idle_objects) {
  for (;;) {
    {
      const section in(*this);
      const bool room = total_ < max_size_ && waiters_.empty() && idle_.count() < options_.max_idle;
      if (closed_ || !room || idle_.count() + creating_ >= idle_objects) {
        return;
      }
      ++total_;
      ++creating_;
    }
    put_back(create_granted());
  }
}

void object_pool_core::close() noexcept {
  pool_slot* idle_ones = nullptr;
  {
    section in(*this);
    closed_ = true;
    while (waiter* const one = waiters_.front()) {
      settle(in, *one, wait_outcome::closed);
    }
    idle_ones = idle_.take_all();
  }
  dispose_all(idle_ones, destroy_reason::closed);
}

drain_report object_pool_core::drain(time_point deadline) {
  close();
  section in(*this);
  while (total_ > 0) {
    const time_point current = now();
    if (current >= deadline) {
      break;
    }
    if (deadline == time_point::max()) {
      drained_.wait(in.lock());
    } else {
      drained_.wait_until(in.lock(), later(std::chrono::steady_clock::now(), deadline - current));
    }
  }
  return {holders(npos)};
}

void object_pool_core::orphan() noexcept {
  close();
  const section in(*this);
  orphaned_ = true;
}

// ---- reports ----

std::vector<outstanding_lease> object_pool_core::holders(std::size_t most) const {
  return collect_holders(slots_, slots_used_, now(), most);
}

object_pool_statistics object_pool_core::statistics() {
  const section in(*this);
  object_pool_statistics s;
  s.total = total_;
  s.idle = idle_.count();
  s.creating = creating_;
  s.in_use = total_ - idle_.count() - creating_;
  s.waiting = waiters_.size();
  s.max = max_size_;
  s.acquired = retired_uses_;
  std::uint64_t leased = 0;
  for (std::uint32_t index = 1; index <= slots_used_; ++index) {
    const pool_slot& slot = slots_[index];
    s.acquired += slot.uses.load(std::memory_order_relaxed);
    leased += slot.leased() ? 1 : 0;
  }
  idle_.for_each([&](const pool_slot& slot) { s.retained_bytes += slot.retained_bytes; });
  s.created = created_;
  s.adopted = adopted_;
  s.waited = waited_;
  s.timed_out = timed_out_;
  s.cancelled = cancelled_;
  s.factory_failures = factory_failures_;
  s.destroyed = destroyed_;
  s.wait_time = wait_time_;
  const std::uint64_t gone =
      leased + s.destroyed_for(destroy_reason::discarded) + s.destroyed_for(destroy_reason::detached);
  s.returned = s.acquired > gone ? s.acquired - gone : 0;
  return s;
}

std::size_t object_pool_core::idle() noexcept {
  const section in(*this);
  return idle_.count();
}

bool object_pool_core::check_invariants() noexcept {
  const section in(*this);
  std::size_t listed = 0;
  bool none_leased = true;
  idle_.for_each([&](const pool_slot& slot) {
    ++listed;
    none_leased = none_leased && !slot.leased();
  });
  std::size_t vacant = 0;
  for (const pool_slot* slot = vacant_; slot != nullptr; slot = slot->link) {
    ++vacant;
  }
  std::uint64_t gone = 0;
  for (const std::uint64_t count : destroyed_) {
    gone += count;
  }
  const bool starved = idle_.count() == 0 && (total_ >= max_size_ || failures_ > 0);
  return none_leased && listed == idle_.count() && idle_.count() + creating_ <= total_ &&
         slots_used_ - vacant + creating_ >= total_ && slots_used_ - vacant <= total_ &&
         created_ + adopted_ + creating_ >= gone && created_ + adopted_ + creating_ - gone == total_ &&
         (waiters_.empty() || (starved && !closed_));
}

// ---- time ----

time_point object_pool_core::coarse_now() const noexcept {
  return coarse_time(clock_);
}

time_point object_pool_core::deadline_after(duration timeout) const noexcept {
  return timeout == forever ? time_point::max() : later(now(), timeout);
}

// Takes out the idle objects that are too old, as a list through `link` with the reason in each. What would
// be given out last goes first, as long as more than `min_idle` are left.
pool_slot* object_pool_core::expire_idle(time_point time) noexcept {
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
    const bool idle_too_long = options_.idle_timeout != off && left > options_.min_idle &&
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

time_point object_pool_core::next_work() noexcept {
  time_point next = time_point::max();
  for (const waiter* one = waiters_.front(); one != nullptr; one = one->next) {
    next = std::min(next, one->deadline);
  }
  if (failures_ > 0 && (!waiters_.empty() || idle_.count() < options_.min_idle)) {
    next = std::min(next, retry_at_);
  }
  const bool may_fade = options_.idle_timeout != off && idle_.count() > options_.min_idle;
  idle_.for_each([&](const pool_slot& slot) {
    next = std::min(next, slot.expires_at);
    if (may_fade) {
      next = std::min(next, later(slot.idle_since, options_.idle_timeout));
    }
  });
  return next;
}

time_point object_pool_core::maintain(time_point time) {
  pool_slot* gone = nullptr;
  {
    section in(*this);
    for (waiter* one = waiters_.front(); one != nullptr;) {
      waiter& late = *std::exchange(one, one->next);
      if (late.deadline <= time) {
        settle(in, late, wait_outcome::timeout);
      }
    }
    gone = expire_idle(time);
    serve_waiters(in, std::max(time, now()));
  }
  dispose_all(gone);
  refill(std::max(time, now()));
  const section in(*this);
  return next_work();
}

// Brings the idle objects up to `min_idle`. A failing factory ends it; `retry_at_` says when to go on.
void object_pool_core::refill(time_point time) {
  for (;;) {
    {
      const section in(*this);
      const bool wanted = idle_.count() + creating_ < options_.min_idle && total_ < max_size_;
      if (closed_ || !wanted || !waiters_.empty() || !may_retry_factory(time)) {
        return;
      }
      ++total_;
      ++creating_;
    }
    try {
      put_back(create_granted());
    } catch (const pool_error&) {
      return;
    }
  }
}

}  // namespace cistern::detail
