// Coroutines that wait for an object of a shared pool: how they come into the queue, and who resumes them.
#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/shared_control.hpp>

#include <new>
#include <optional>
#include <utility>

#include "object_pool_control.hpp"

namespace cistern::detail {

std::optional<pool_grant> shared_control::grant_at_once(const acquire_request& request) noexcept {
  pool_slot* const slot = request.stop.stop_requested() ? nullptr : take_idle();
  return slot != nullptr ? std::optional(pool_grant{slot}) : std::nullopt;
}

bool shared_control::obtain_or_queue(waiter& one, std::optional<pool_grant>& grant,
                                     const acquire_request& request) {
  const section in(*this);
  if ((grant = grant_or_admit(request))) {
    return false;
  }
  one.deadline = request.deadline;
  enqueue(one);
  return true;
}

void shared_control::cancel(waiter& one) noexcept {
  section in(*this);
  if (one.queued && one.outcome == wait_outcome::waiting) {
    settle(one, wait_outcome::cancelled);
  }
}

pool_grant shared_control::collect(waiter& one) {
  const section in(*this);
  end_wait(one);
  return outcome_of(one);
}

void shared_control::abandon(waiter& one) noexcept {
  const no_cancellation in_a_destructor;
  std::optional<pool_grant> granted;
  {
    const section in(*this);
    // Its executor may be at the coroutine. One on this thread destroys it, and knows.
    while (one.called != nullptr && one.resumer != this_thread_number()) {
      sleep(called_one_, time_point::max());
    }
    end_wait(one);
    if (one.outcome == wait_outcome::creation || one.outcome == wait_outcome::object) {
      granted = pool_grant{one.slot};
    }
  }
  if (granted) {
    return_grant(*granted);
  }
}

// ---- resuming ----
//
//   waiters_ --settle--> ready_ --the thread that settled it--> called_ --its executor has it--> (no list)
//
// A coroutine may be destroyed at any of these steps, on any thread: under the mutex `abandon` takes it out
// of the list that it is in. Only from `called_` it waits until the executor returned, for that has its
// handle.

// The pools whose coroutines a thread resumes, the innermost first. A coroutine that gives an object back
// while it is resumed leaves the next one to the loop that it was resumed from, so the stack grows by no more
// than one loop for each pool. (In resume_coroutines' frame, as thread-local storage is scarce in a plug-in.)
struct shared_control::resuming {
  const shared_control* pool;
  resuming* outer;
};

namespace {
thread_local constinit void* innermost = nullptr;  // shared_control::resuming
}  // namespace

// How many loops of this thread resume coroutines of this pool: two if a coroutine blocks in one.
std::size_t shared_control::loops_here() const noexcept {
  std::size_t count = 0;
  for (const auto* loop = static_cast<const resuming*>(innermost); loop != nullptr; loop = loop->outer) {
    count += loop->pool == this ? 1 : 0;
  }
  return count;
}

void shared_control::resume_coroutines() noexcept {
  const no_cancellation of_executors;  // they run in destructors, which can't be unwound
  resuming this_loop{this, static_cast<resuming*>(innermost)};
  innermost = &this_loop;
  waiter* called = nullptr;  // set to null when its coroutine goes on, or is destroyed
  for (;;) {
    waiter* one = nullptr;
    {
      const section in(*this);
      if (called != nullptr) {
        called_.unlink(*called);
        called->called = nullptr;
        called_one_.notify_all();
      }
      one = called = ready_.first_for(this_thread_number());
      if (one == nullptr) {
        innermost = this_loop.outer;
        end_resuming();
        return;
      }
      ready_.unlink(*one);
      called_.push_back(*one);
      one->called = &called;
    }
    one->resume(*one);
  }
}

// What they were to resume is for us. Whom they had called, but were not done with, has its handle or not.
void shared_control::forget_other_resumers() noexcept {
  ::new (&called_one_) std::condition_variable;
  while (loops_ > loops_here()) {
    end_resuming();
  }
  const std::uint64_t me = this_thread_number();
  for (waiter* one = ready_.front(); one != nullptr; one = one->next) {
    one->resumer = me;
  }
  for (waiter* one = called_.front(); one != nullptr;) {
    waiter& lost = *std::exchange(one, one->next);
    if (lost.resumer != me) {
      called_.unlink(lost);
      lost.called = nullptr;
    }
  }
}

}  // namespace cistern::detail
