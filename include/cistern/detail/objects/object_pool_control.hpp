// object_pool_control: what the control blocks of object pools have in common, whatever the policy: the
// objects, the mutex, the factory's record, and the end.
#pragma once

#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/waitable_mutex.hpp>
#include <cistern/detail/objects/object_accounts.hpp>
#include <cistern/detail/objects/pool_slot.hpp>
#include <cistern/detail/objects/pool_time.hpp>
#include <cistern/detail/objects/slot_table.hpp>
#include <cistern/detail/objects/stop_token.hpp>
#include <cistern/object_pool_options.hpp>
#include <cistern/object_pool_statistics.hpp>
#include <cistern/pool_error.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <stop_token>
#include <vector>

namespace cistern::detail {

struct acquire_request {
  time_point deadline = time_point::max();
  std::stop_token stop{};
  bool may_wait = true;
};

/// Lives until the pool object is gone and every lease and waiter with it. Functions of the user's run
/// outside the mutex, always.
class object_pool_control : public lease_home, private fork_participant {
 public:
  object_pool_control(const object_pool_options& options, std::pmr::memory_resource* resource,
                      slot_table::slot_type type, pool_clock clock);
  object_pool_control(const object_pool_control&) = delete;
  object_pool_control& operator=(const object_pool_control&) = delete;

  // ---- objects come ----

  /// Uses the right to create. Throws pool_error (factory_failed), or std::bad_alloc from the resource.
  [[nodiscard]] pool_slot& create_granted();
  /// Throws `closed`, `timeout` or `cancelled` if `request` is over; the object that was created or validated
  /// meanwhile stays in the pool.
  void give_up_if_late(pool_slot& slot, const acquire_request& request);
  /// The same without an object.
  void give_up_if_late(const acquire_request& request);
  /// A slot to adopt an object into, or null if there is no room. Throws std::bad_alloc.
  [[nodiscard]] pool_slot* reserve_for_adoption();
  /// Gives back the right to create, and the slot, if there is one.
  void cancel_creation(pool_slot* slot) noexcept;
  void finish_adoption(pool_slot& slot) noexcept;
  void warm(std::size_t idle_objects);

  // ---- and go ----

  /// Keeps an object that nobody leases, for whoever comes next, or destroys it.
  virtual void put_back(pool_slot& slot) noexcept = 0;
  /// Destroys the object and makes room.
  void dispose(pool_slot& slot, destroy_reason reason) noexcept;
  /// The same for all of a list through `link`; without a `reason`, for the one in each slot.
  void dispose_all(pool_slot* first) noexcept;
  void dispose_all(pool_slot* first, destroy_reason reason) noexcept;
  /// Forgets an object that is already gone, and makes room.
  void vacate(pool_slot& slot, destroy_reason reason) noexcept;
  virtual void close() noexcept = 0;
  [[nodiscard]] drain_report drain(time_point deadline);
  /// The pool object is gone: close, and destroy this with the last lease.
  void orphan() noexcept;

  // ---- reports ----

  [[nodiscard]] object_pool_statistics statistics();
  /// Who holds objects, the longest held first, at most `most`. O(objects). Throws std::bad_alloc.
  [[nodiscard]] std::vector<outstanding_lease> holders(std::size_t most);
  /// The same, but nobody where the lock isn't free within a while.
  [[nodiscard]] std::vector<outstanding_lease> holders_for_error(std::size_t most);
  [[nodiscard]] std::size_t idle() noexcept;
  [[nodiscard]] bool check_invariants() noexcept;

  // ---- time ----

  [[nodiscard]] time_point now() const noexcept final {
    return system_clock_ ? std::chrono::steady_clock::now() : users_time();
  }
  /// Cheap, and as precise as a clock tick (1 to 4 ms) if the pool runs on the system's clock.
  [[nodiscard]] time_point coarse_now() const noexcept {
    return system_clock_ ? coarse_system_time() : users_time();
  }
  [[nodiscard]] time_point deadline_after(duration timeout) const noexcept {
    return timeout == forever ? time_point::max() : later(now(), timeout);
  }
  [[nodiscard]] bool deadline_passed(const acquire_request& request) const noexcept {
    return request.deadline != time_point::max() && now() >= request.deadline;
  }
  [[nodiscard]] bool is_over(const acquire_request& request) const noexcept {
    return request.stop.stop_requested() || deadline_passed(request);
  }
  [[nodiscard]] const object_pool_options& options() const noexcept { return options_; }

 protected:
  ~object_pool_control();
  class section;  // a stretch of code under the mutex

  [[nodiscard]] std::pmr::memory_resource* resource() const noexcept { return resource_; }
  /// The table itself isn't guarded: see slot_table.
  [[nodiscard]] const slot_table& slots() const noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    return accounts_.slots();
  }
  [[nodiscard]] bool of_this_generation(const pool_slot& slot) const noexcept {
    return slot.generation == generation_.load(std::memory_order_relaxed);
  }
  /// Brings the idle objects up to `min_idle`. A failing factory ends it; `retry_at_` says when to go on.
  void refill(time_point time);

  /// In the child of a fork: of what other threads were about, only their objects in use stay so.
  void forget_other_threads() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS override;

  /// Objects that somebody is creating.
  [[nodiscard]] std::size_t creating() const noexcept CISTERN_REQUIRES(mutex_) {
    return accounts_.creating() - std::min(accounts_.creating(), lost_creations_);
  }
  /// While the factory fails: one attempt at a time, with pauses between.
  [[nodiscard]] bool may_retry_factory(time_point time) const noexcept CISTERN_REQUIRES(mutex_) {
    return failures_ == 0 || (creating() == 0 && time >= retry_at_);
  }
  /// Throws `code` with what the pool knows about it. O(1).
  [[noreturn]] void refuse(pool_errc code) CISTERN_REQUIRES(mutex_);
  /// Throws if the pool is closed or `request` is over.
  void refuse_if_over(const acquire_request& request) CISTERN_REQUIRES(mutex_);
  /// Who waits by the pool's clock looks at it again.
  void note_time() noexcept CISTERN_REQUIRES(mutex_) { drained_.notify_all(); }
  void note_vacancy() noexcept CISTERN_REQUIRES(mutex_) {
    if (accounts_.total() == 0) {
      drained_.notify_all();
    }
  }

  const object_pool_options options_;
  std::atomic<std::uint64_t> generation_{0};  // calls of `invalidate_all`
  waitable_mutex mutex_;
  object_accounts accounts_ CISTERN_GUARDED_BY(mutex_);
  bool closed_ CISTERN_GUARDED_BY(mutex_) = false;
  bool orphaned_ CISTERN_GUARDED_BY(mutex_) = false;
  /// Waiters, and threads that resume some, that still need this control block.
  std::size_t pins_ CISTERN_GUARDED_BY(mutex_) = 0;
  /// Begun by threads that this process, the child of a fork, doesn't have.
  std::size_t lost_creations_ CISTERN_GUARDED_BY(mutex_) = 0;
  /// Of the factory, in a row.
  unsigned failures_ CISTERN_GUARDED_BY(mutex_) = 0;
  time_point retry_at_ CISTERN_GUARDED_BY(mutex_){};
  std::exception_ptr last_failure_ CISTERN_GUARDED_BY(mutex_);

 private:
  virtual void construct_object(pool_slot& slot) = 0;
  virtual void destroy_object(pool_slot& slot) noexcept = 0;
  virtual void destroy_self() noexcept = 0;  ///< Called with cancellation held off.

  /// What a policy does right after the mutex is taken, and right before it is released; true: afterwards,
  /// too, and it holds a pin until then.
  virtual void locked() noexcept CISTERN_REQUIRES(mutex_) {}
  virtual bool unlocking() noexcept CISTERN_REQUIRES(mutex_) { return false; }
  virtual void unlocked() noexcept {}
  /// There may be room, or the factory may be worth another attempt.
  virtual void serve_waiters() noexcept CISTERN_REQUIRES(mutex_) {}
  [[nodiscard]] virtual std::size_t idle_count() noexcept CISTERN_REQUIRES(mutex_) = 0;
  [[nodiscard]] virtual std::size_t max_size() const noexcept CISTERN_REQUIRES(mutex_) = 0;
  /// Whether one more may be adopted, or created to lie idle.
  [[nodiscard]] virtual bool has_room_to_adopt() noexcept CISTERN_REQUIRES(mutex_) = 0;
  [[nodiscard]] virtual bool has_room_to_idle() noexcept CISTERN_REQUIRES(mutex_) = 0;
  /// Fills in what only the policy knows.
  virtual void report(object_pool_statistics&) noexcept CISTERN_REQUIRES(mutex_) {}
  [[nodiscard]] virtual bool policy_invariants() noexcept CISTERN_REQUIRES(mutex_) = 0;

  [[nodiscard]] time_point users_time() const noexcept;
  bool each_lock(lock_visitor& visit) noexcept final;
  void begin_life(pool_slot& slot) noexcept CISTERN_REQUIRES(mutex_);
  void creation_failed(pool_slot& slot, const std::exception_ptr& cause) noexcept;

  std::pmr::memory_resource* const resource_;
  const std::shared_ptr<lease_holders> holders_;
  const pool_clock clock_;
  const bool system_clock_;
  std::condition_variable drained_;  // no object is left, or it is time to look at the clock
  std::uint64_t jitter_state_ CISTERN_GUARDED_BY(mutex_);
};

/// The right to create an object. Goes back to the pool if the creation isn't finished, because of an
/// exception or of the end of the thread.
struct unfinished_creation {
  object_pool_control& control;
  pool_slot* slot = nullptr;
  bool finished = false;

  explicit unfinished_creation(object_pool_control& owner, pool_slot* one = nullptr) noexcept
      : control(owner), slot(one) {}
  unfinished_creation(const unfinished_creation&) = delete;
  unfinished_creation& operator=(const unfinished_creation&) = delete;
  ~unfinished_creation() {
    if (!finished) {
      control.cancel_creation(slot);
    }
  }
};

}  // namespace cistern::detail
