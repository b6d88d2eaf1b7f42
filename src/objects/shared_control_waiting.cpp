// Waiting for an object of a shared pool: who is served next, when a wait ends, and how.
#include <cistern/detail/objects/shared_control.hpp>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "object_pool_control.hpp"

namespace cistern::detail {

namespace {

constexpr int yields_before_waiting = 8;

}  // namespace

// ---- granting ----

std::optional<pool_grant> shared_control::grant_now(bool may_wait, pool_errc& why) noexcept {
  if (closed_) {
    why = pool_errc::closed;
    return std::nullopt;
  }
  if (pool_slot* const slot = idle_.pop()) {
    return pool_grant{slot};
  }
  const bool elastic = options_.empty == when_empty::create;
  // A caller that doesn't wait sees each failure of the factory itself, and sets its own pace.
  const bool paced = may_wait && options_.empty == when_empty::block;
  const bool room = accounts_.total() < max_size_ && waiters_.empty() && (!paced || may_retry_factory(now()));
  if (elastic || room) {
    accounts_.begin_creation();
    return pool_grant{};
  }
  why = pool_errc::exhausted;
  return std::nullopt;
}

std::optional<pool_grant> shared_control::try_obtain() noexcept {
  const section in(*this);
  pool_errc why{};
  return grant_now(false, why);
}

void shared_control::settle(waiter& one, wait_outcome outcome, pool_slot* slot) noexcept {
  unlink(one);
  one.outcome = outcome;
  one.slot = slot;
  wait_time_ += std::max(coarse_now() - one.since, duration::zero());
  if (one.wake != nullptr) {
    // Under the mutex, because the waiter is gone as soon as it can see the outcome.
    one.wake->notify_one();
  } else {
    one.resumer = this_thread_number();
    ready_.push_back(one);
  }
}

void shared_control::serve_waiters() noexcept {
  if (!waiters_.empty()) {
    serve_waiters(now());
  }
}

// Gives what there is to those who wait, the oldest first.
void shared_control::serve_waiters(time_point time) noexcept {
  while (waiter* const oldest = waiters_.front()) {
    if (pool_slot* const slot = idle_.pop()) {
      settle(*oldest, wait_outcome::object, slot);
    } else if (accounts_.total() >= max_size_) {
      end_deadlock_of_fewer();
      return;
    } else if (may_retry_factory(time)) {
      accounts_.begin_creation();
      settle(*oldest, wait_outcome::creation);
    } else {
      wake_watcher();
      return;
    }
  }
}

// Lets the first thread that waits sleep no longer than until the factory may be tried again.
void shared_control::wake_watcher() noexcept {
  if (waiter* const watcher = failures_ > 0 ? waiters_.first_thread() : nullptr) {
    watcher->wake->notify_one();
  }
}

// Out of the queue of those who wait. If that was the watcher, it is the next one's turn to watch.
void shared_control::unlink(waiter& one) noexcept {
  waiters_.unlink(one);
  wake_watcher();
}

// ---- waiting ----

void shared_control::enqueue(waiter& one) noexcept {
  one.since = coarse_now();
  ++waited_;
  ++pins_;
  one.queued = true;
  waiters_.push_back(one);
}

// Throws if a caller that found nothing may not wait.
void shared_control::admit_waiter(const acquire_request& request) {
  const bool waits = options_.empty == when_empty::block && request.may_wait;
  if (!waits || waiters_.size() >= options_.max_waiters) {
    refuse(pool_errc::exhausted);
  }
  if (request.deadline != time_point::max() && now() >= request.deadline) {
    refuse(pool_errc::timeout);
  }
}

// What can be had without waiting; null if the caller must wait, and may. Throws if it may not.
std::optional<pool_grant> shared_control::grant_or_admit(const acquire_request& request) {
  pool_errc why{};
  if (!closed_ && request.stop.stop_requested()) {
    refuse(pool_errc::cancelled);
  }
  if (const auto grant = grant_now(request.may_wait, why)) {
    return grant;
  }
  if (why == pool_errc::closed) {
    refuse(why);
  }
  admit_waiter(request);
  return std::nullopt;
}

pool_grant shared_control::obtain(const acquire_request& request) {
  {
    const section in(*this);
    if (const auto grant = grant_or_admit(request)) {
      return *grant;
    }
  }
  // Lets others run before standing in the queue. With more threads than cores the objects are mostly held by
  // threads that were interrupted and would give them back at once; while nobody is queued they do so
  // without the mutex, and no object needs a change of threads to be used again. Who is queued already is
  // not overtaken: what is given back goes to them first.
  for (int i = 0; i < yields_before_waiting; ++i) {
    std::this_thread::yield();
    if (pool_slot* const slot = take_idle()) {
      return {slot};
    }
  }
  section in(*this);
  const auto grant = grant_or_admit(request);
  return grant ? *grant : wait_in_queue(in, request);
}

// The place of a blocked thread in the queue. However the wait ends, by the end of the thread too, nothing on
// the thread's stack stays in the queue, and nothing that it was given is lost.
class shared_control::place_in_queue {
 public:
  place_in_queue(shared_control& pool, section& in, waiter& one) noexcept CISTERN_REQUIRES(pool.mutex_)
      : pool_(pool), in_(in), one_(one) {
    pool.enqueue(one);
  }
  place_in_queue(const place_in_queue&) = delete;
  place_in_queue& operator=(const place_in_queue&) = delete;
  // Not analysed: with the mutex if the thread ended while it slept, without if it ended outside.
  ~place_in_queue() CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    if (one_.queued) {
      in_.leave();
      pool_.abandon(one_);
    }
  }

 private:
  shared_control& pool_;
  section& in_;
  waiter& one_;
};

pool_grant shared_control::wait_in_queue(section& in, const acquire_request& request) {
  std::condition_variable wake;
  waiter one;
  one.deadline = request.deadline;
  one.endless = request.deadline == time_point::max() && !request.stop.stop_possible();
  one.thread = this_thread_number();
  one.wake = &wake;
  const place_in_queue place(*this, in, one);
  if (one.endless && options_.detect_deadlock && deadlocked_holder() != nullptr) {
    refuse(pool_errc::would_deadlock);
  }
  if (!request.stop.stop_possible()) {
    block(in, one);
  } else {
    block_until_stop(in, one, request.stop);
  }
  end_wait(one);
  return outcome_of(one);
}

void shared_control::end_wait(waiter& one) noexcept {
  --pins_;
  one.queued = false;
  if (one.queue == &waiters_) {
    unlink(one);
  } else if (one.queue != nullptr) {
    one.queue->unlink(one);
  }
  if (one.called != nullptr) {
    *std::exchange(one.called, nullptr) = nullptr;  // its resumer needn't remember it
  }
}

// The callback takes the mutex, so it comes and goes without it. Not analysed: held before and after.
void shared_control::block_until_stop(section& in, waiter& one,
                                      const std::stop_token& stop) CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  in.leave();
  {
    const std::stop_callback on_stop(stop, [&]() noexcept { cancel(one); });
    const section::inside until_the_callback_goes(in);
    block(in, one);
  }
  in.enter();
}

// Not analysed: held before and after.
void shared_control::resume_outside(section& in) CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  begin_resuming();
  in.leave();
  resume_coroutines();
  in.enter();
}

// Sleeps until the wait of `one` is settled.
void shared_control::block(section& in, waiter& one) {
  while (one.outcome == wait_outcome::waiting) {
    if (ready_.first_for(one.thread) != nullptr) {
      // They must not wait for this thread, even if one of them is what waits here.
      resume_outside(in);
      continue;
    }
    const time_point wake_at = wake_time(one);
    const time_point current = now();
    // On a clock of the user's, sleep as long as that clock is behind.
    const time_point sleep_until =
        wake_at == time_point::max() ? wake_at : later(std::chrono::steady_clock::now(), wake_at - current);
    sleep(*one.wake, sleep_until);
    if (one.outcome != wait_outcome::waiting) {
      return;
    }
    if (now() >= one.deadline) {
      settle(one, wait_outcome::timeout);
      return;
    }
    serve_waiters();
  }
}

// Sleeps until woken, or until `end` by the system's clock.
void shared_control::sleep(std::condition_variable& wake, time_point end) {
  // Somebody may open the stack meanwhile, if this wait is settled; and the thread may end here.
  struct shut_again {
    idle_objects& idle;
    ~shut_again() { idle.shut(); }
  } const afterwards{idle_};
  if (end == time_point::max()) {
    mutex_.wait(wake);
  } else {
    mutex_.wait_until(wake, end);
  }
}

// When the thread of `one` has to look at the clock, by the pool's time.
time_point shared_control::wake_time(const waiter& one) const noexcept {
  const bool watches_factory =
      failures_ > 0 && creating() == 0 && accounts_.total() < max_size_ && waiters_.first_thread() == &one;
  return watches_factory ? std::min(one.deadline, retry_at_) : one.deadline;
}

// If every object is held by a thread that waits here without end: one of these waits.
waiter* shared_control::deadlocked_holder() const noexcept {
  std::size_t held_by_waiters = 0;
  waiter* holder = nullptr;
  // Not analysed: called at once, under the mutex.
  accounts_.slots().for_each([&](const pool_slot& slot) CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    if (!slot.leased()) {
      return;
    }
    if (waiter* const one = waiters_.endless_wait_of(slot.holder.load(std::memory_order_relaxed))) {
      ++held_by_waiters;
      holder = one;
    }
  });
  return held_by_waiters == accounts_.total() ? holder : nullptr;
}

// Whoever begins to wait looks for a deadlock. Later one comes about only where an object goes and leaves no
// room, as `resize` has it.
void shared_control::end_deadlock_of_fewer() noexcept {
  if (!too_many_) {
    return;
  }
  too_many_ = accounts_.total() > max_size_;
  if (waiter* const holder = options_.detect_deadlock ? deadlocked_holder() : nullptr) {
    settle(*holder, wait_outcome::would_deadlock);
  }
}

// ---- fork ----

// Coroutines wait on: whoever runs them may be here. So does the thread that forked, in a coroutine that it
// resumed while it waited. What a thread was already given, but hadn't collected, stays with it for ever.
void shared_control::forget_other_threads() noexcept {
  object_pool_control::forget_other_threads();
  locked();
  for (waiter* one = waiters_.front(); one != nullptr;) {
    waiter& lost = *std::exchange(one, one->next);
    if (lost.wake != nullptr && lost.thread != this_thread_number()) {
      waiters_.unlink(lost);
      --pins_;
    }
  }
  forget_other_resumers();
  if (unlocking()) {
    end_resuming();  // it will be asked again
  }
}

pool_grant shared_control::outcome_of(const waiter& one) {
  switch (one.outcome) {
    case wait_outcome::closed:
      refuse(pool_errc::closed);
    case wait_outcome::cancelled:
      refuse(pool_errc::cancelled);
    case wait_outcome::timeout:
      refuse(pool_errc::timeout);
    case wait_outcome::would_deadlock:
      refuse(pool_errc::would_deadlock);
    default:
      return {one.slot};
  }
}

}  // namespace cistern::detail
