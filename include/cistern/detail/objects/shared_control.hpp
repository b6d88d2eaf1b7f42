// shared_control: the control block of a shared object pool, but for what depends on the type of its objects.
#pragma once

#include <cistern/detail/objects/idle_objects.hpp>
#include <cistern/detail/objects/object_pool_control.hpp>
#include <cistern/detail/objects/waiter_queue.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace cistern::detail {

/// What a caller in need of an object gets: an object, or the right to create one (`slot` is null then).
struct pool_grant {
  pool_slot* slot = nullptr;
};

/// Two modes. Open: acquiring and giving back touch nothing but the idle objects, without a lock. Shut: the
/// idle objects are guarded by the mutex, together with everything else. Whoever takes the mutex shuts them
/// away; whoever releases it opens them again unless the pool must stay shut: it is closed, has waiters, or
/// has too many objects.
///
/// No wake-up is lost: a caller queues under the mutex, so with the idle objects shut away, after it found
/// none there. A return either came before they were shut away, and then the caller found the object; or
/// finds them shut, and has to come by the mutex after the caller, whom it finds in the queue.
///
/// Invariants, whenever the mutex is free:
///   total == idle + creating + objects in users' hands (or on their way in or out)
///   waiters => shut, nothing idle, and no room to create (unless the factory is failing and pausing)
class shared_control : public object_pool_control {
 public:
  /// Throws std::invalid_argument.
  shared_control(const object_pool_options& options, std::pmr::memory_resource* resource,
                 slot_table::slot_type type, pool_clock clock);

  /// Fast path. Null: take the slow one.
  [[nodiscard]] pool_slot* take_idle() noexcept { return idle_.try_take(); }
  /// Fast path. False: the slot is still the caller's; take the slow one.
  [[nodiscard]] bool return_idle(pool_slot& slot) noexcept {
    return idle_.try_keep(slot, [&]() noexcept { return of_this_generation(slot); });
  }

  /// Waits as `request` says. Throws pool_error.
  [[nodiscard]] pool_grant obtain(const acquire_request& request);
  /// Doesn't wait and doesn't throw: null if nothing is idle and there is no room, or the pool is closed.
  [[nodiscard]] std::optional<pool_grant> try_obtain() noexcept;
  /// The object in `slot` was found unusable and has been destroyed: another in its place, or the right to
  /// create one. Null: the caller has to queue; never if it `insists`, because it can't. Throws pool_error if
  /// the pool is closed, unless the caller doesn't wait, or if `request` is over.
  [[nodiscard]] std::optional<pool_grant> replace(pool_slot& slot, destroy_reason reason,
                                                  const acquire_request& request, bool insists);

  /// Hands an object that nobody leases to the oldest waiter, or keeps it idle, or destroys it.
  void put_back(pool_slot& slot) noexcept final;
  /// Puts back a grant that will not be used.
  void return_grant(pool_grant grant) noexcept;

  void resize(std::size_t max_size);
  std::size_t trim(std::size_t keep_idle) noexcept;
  void invalidate_all() noexcept;
  time_point maintain(time_point time);
  void close() noexcept final;
  /// Takes all idle objects, as a list through `link`, the next to be given out first; and puts them back so.
  [[nodiscard]] pool_slot* take_all_idle() noexcept;
  void put_all_back(pool_slot* first) noexcept;

  // ---- for coroutines ----

  /// An idle object, if that is all it takes.
  [[nodiscard]] std::optional<pool_grant> grant_at_once(const acquire_request& request) noexcept;
  /// True: `one` is queued, and will be resumed; false: `grant` is set. Throws pool_error.
  [[nodiscard]] bool obtain_or_queue(waiter& one, std::optional<pool_grant>& grant,
                                     const acquire_request& request);
  /// Ends the wait of `one` if it is still queued.
  void cancel(waiter& one) noexcept;
  /// Takes `one` out of the queue, or puts back what it was granted, because its coroutine is destroyed.
  /// Afterwards `resume` won't be called, and isn't running on another thread.
  void abandon(waiter& one) noexcept;
  /// Turns the outcome of a queued wait into a grant; throws pool_error.
  [[nodiscard]] pool_grant collect(waiter& one);

 protected:
  ~shared_control() = default;

 private:
  class place_in_queue;
  struct resuming;

  void forget_other_threads() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS final;
  void forget_other_resumers() noexcept CISTERN_REQUIRES(mutex_);

  void locked() noexcept CISTERN_REQUIRES(mutex_) final { idle_.shut(); }
  [[nodiscard]] bool unlocking() noexcept CISTERN_REQUIRES(mutex_) final;
  void unlocked() noexcept final { resume_coroutines(); }
  [[nodiscard]] std::size_t idle_count() noexcept CISTERN_REQUIRES(mutex_) final { return idle_.count(); }
  [[nodiscard]] std::size_t max_size() const noexcept CISTERN_REQUIRES(mutex_) final { return max_size_; }
  [[nodiscard]] bool has_room_to_adopt() noexcept CISTERN_REQUIRES(mutex_) final;
  [[nodiscard]] bool has_room_to_idle() noexcept CISTERN_REQUIRES(mutex_) final;
  void report(object_pool_statistics& statistics) noexcept CISTERN_REQUIRES(mutex_) final;
  [[nodiscard]] bool policy_invariants() noexcept CISTERN_REQUIRES(mutex_) final;

  [[nodiscard]] std::optional<pool_grant> grant_now(bool may_wait, pool_errc& why) noexcept
      CISTERN_REQUIRES(mutex_);
  void serve_waiters() noexcept CISTERN_REQUIRES(mutex_) final;
  void serve_waiters(time_point time) noexcept CISTERN_REQUIRES(mutex_);
  void settle(waiter& one, wait_outcome outcome, pool_slot* slot = nullptr) noexcept CISTERN_REQUIRES(mutex_);
  void enqueue(waiter& one) noexcept CISTERN_REQUIRES(mutex_);
  void unlink(waiter& one) noexcept CISTERN_REQUIRES(mutex_);
  void wake_watcher() noexcept CISTERN_REQUIRES(mutex_);
  [[nodiscard]] std::optional<pool_grant> grant_or_admit(const acquire_request& request)
      CISTERN_REQUIRES(mutex_);
  void admit_waiter(const acquire_request& request) CISTERN_REQUIRES(mutex_);
  [[nodiscard]] pool_grant wait_in_queue(section& in, const acquire_request& request)
      CISTERN_REQUIRES(mutex_);
  /// The owner of `one` has noticed its outcome, or doesn't wait for it any more.
  void end_wait(waiter& one) noexcept CISTERN_REQUIRES(mutex_);
  /// Resumes what this thread is to resume, one after the other, after `begin_resuming`.
  void resume_coroutines() noexcept;
  void begin_resuming() noexcept CISTERN_REQUIRES(mutex_) {
    ++pins_;
    ++loops_;
  }
  void end_resuming() noexcept CISTERN_REQUIRES(mutex_) {
    --pins_;
    --loops_;
  }
  [[nodiscard]] std::size_t loops_here() const noexcept;
  void block(section& in, waiter& one) CISTERN_REQUIRES(mutex_);
  void resume_outside(section& in) CISTERN_REQUIRES(mutex_);
  void sleep(std::condition_variable& wake, time_point end) CISTERN_REQUIRES(mutex_);
  void block_until_stop(section& in, waiter& one, const std::stop_token& stop) CISTERN_REQUIRES(mutex_);
  /// The grant that `one` was given; throws pool_error if it got none.
  [[nodiscard]] pool_grant outcome_of(const waiter& one) CISTERN_REQUIRES(mutex_);
  [[nodiscard]] time_point wake_time(const waiter& one) const noexcept CISTERN_REQUIRES(mutex_);
  [[nodiscard]] waiter* deadlocked_holder() const noexcept CISTERN_REQUIRES(mutex_);
  void end_deadlock_of_fewer() noexcept CISTERN_REQUIRES(mutex_);
  [[nodiscard]] std::optional<destroy_reason> surplus_reason(const pool_slot& slot) noexcept
      CISTERN_REQUIRES(mutex_);
  [[nodiscard]] pool_slot* expire_idle(time_point time) noexcept CISTERN_REQUIRES(mutex_);
  [[nodiscard]] time_point next_work() noexcept CISTERN_REQUIRES(mutex_);

  idle_objects idle_;  // open to all, or under the mutex: see there
  std::size_t max_size_ CISTERN_GUARDED_BY(mutex_);
  /// `resize` left more objects than there may be.
  bool too_many_ CISTERN_GUARDED_BY(mutex_) = false;
  waiter_queue waiters_ CISTERN_GUARDED_BY(mutex_);
  /// Coroutines whose wait is over: those to be resumed, and those whose `resume` is being called.
  waiter_queue ready_ CISTERN_GUARDED_BY(mutex_);
  waiter_queue called_ CISTERN_GUARDED_BY(mutex_);
  /// Calls of `resume_coroutines` that go on.
  std::size_t loops_ CISTERN_GUARDED_BY(mutex_) = 0;
  /// Somebody returned from a `resume`.
  std::condition_variable called_one_;
  std::uint64_t waited_ CISTERN_GUARDED_BY(mutex_) = 0;
  duration wait_time_ CISTERN_GUARDED_BY(mutex_){};
};

}  // namespace cistern::detail
