// object_pool_core: everything of a shared object pool that doesn't depend on the type of its objects.
#pragma once

#include <cistern/detail/idle_objects.hpp>
#include <cistern/detail/pool_slot.hpp>
#include <cistern/detail/slot_table.hpp>
#include <cistern/detail/waiter_queue.hpp>
#include <cistern/object_pool_options.hpp>
#include <cistern/object_pool_statistics.hpp>
#include <cistern/pool_error.hpp>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory_resource>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace cistern {

namespace detail {

struct acquire_request {
  time_point deadline = time_point::max();
  std::stop_token stop{};
  bool may_wait = true;
};

// What a caller in need of an object gets: an object, or the right to create one (`slot` is null then).
struct pool_grant {
  pool_slot* slot = nullptr;
};

// The control block of a shared pool. Lives until the pool object is gone and every lease and waiter with it.
//
// Two modes. Open: acquiring and giving back touch nothing but the idle objects, without a lock. Shut: the
// idle objects are guarded by the mutex, together with everything else. Whoever takes the mutex shuts them
// away; whoever releases it opens them again unless the pool must stay shut: it is closed, has waiters, or
// has too many objects.
//
// No wake-up is lost: a caller queues under the mutex, so with the idle objects shut away, after it found
// none there. A return either came before they were shut away, and then the caller found the object; or finds
// them shut, and has to come by the mutex after the caller, whom it finds in the queue.
//
// Invariants, whenever the mutex is free:
//   total == idle + creating + objects in users' hands (or on their way in or out)
//   waiters => shut, nothing idle, and no room to create (unless the factory is failing and pausing)
class object_pool_core : public lease_home {
 public:
  object_pool_core(const object_pool_options& options, std::pmr::memory_resource* resource,
                   slot_table::slot_type type, pool_clock clock);
  object_pool_core(const object_pool_core&) = delete;
  object_pool_core& operator=(const object_pool_core&) = delete;

  // Fast path. Null: take the slow one.
  [[nodiscard]] pool_slot* take_idle() noexcept { return idle_.try_take(); }
  // Fast path. False: the slot is still the caller's; take the slow one.
  [[nodiscard]] bool return_idle(pool_slot& slot) noexcept {
    return idle_.try_keep(
        slot, [&]() noexcept { return slot.generation == generation_.load(std::memory_order_relaxed); });
  }

  // Waits as `request` says. Throws pool_error.
  [[nodiscard]] pool_grant obtain(const acquire_request& request);
  // Doesn't wait and doesn't throw: the grant, or why there is none.
  [[nodiscard]] std::optional<pool_grant> try_obtain(pool_errc& why) noexcept;
  // The object in `slot` was found unusable and has been destroyed: another in its place, or the right to
  // create one. Null: the caller has to queue; if it `insists`, because it can't, null only if the pool is
  // closed.
  [[nodiscard]] std::optional<pool_grant> replace(pool_slot& slot, destroy_reason reason,
                                                  bool insists) noexcept;

  // Uses the right to create. Throws pool_error (factory_failed), or std::bad_alloc from the resource.
  [[nodiscard]] pool_slot& create_granted();
  // Hands an object that nobody leases to the oldest waiter, or keeps it idle, or destroys it.
  void put_back(pool_slot& slot) noexcept;
  // Destroys the object and makes room.
  void dispose(pool_slot& slot, destroy_reason reason) noexcept;
  // Forgets an object that is already gone, and makes room.
  void vacate(pool_slot& slot, destroy_reason reason) noexcept;
  // Throws `timeout` or `cancelled` if `request` is over; the object created meanwhile stays in the pool.
  void give_up_if_late(pool_slot& slot, const acquire_request& request);

  // A slot to adopt an object into, or null if there is no room. Throws std::bad_alloc.
  [[nodiscard]] pool_slot* reserve_for_adoption();
  void cancel_adoption(pool_slot& slot) noexcept;
  void finish_adoption(pool_slot& slot) noexcept;

  void warm(std::size_t idle_objects);
  void resize(std::size_t max_size);
  std::size_t trim(std::size_t keep_idle) noexcept;
  void invalidate_all() noexcept;
  time_point maintain(time_point now);
  void close() noexcept;
  [[nodiscard]] drain_report drain(time_point deadline);
  [[nodiscard]] object_pool_statistics statistics();
  [[nodiscard]] std::size_t idle() noexcept;
  [[nodiscard]] bool check_invariants() noexcept;

  // Takes all idle objects, as a list through `link`, the next to be given out first; and puts them back so.
  [[nodiscard]] pool_slot* take_all_idle() noexcept;
  void put_all_back(pool_slot* first) noexcept;
  void dispose_all(pool_slot* first) noexcept;  // for the reason in each
  void dispose_all(pool_slot* first, destroy_reason reason) noexcept;

  // For coroutines. An idle object, if that is all it takes.
  [[nodiscard]] std::optional<pool_grant> grant_at_once(const acquire_request& request) noexcept;
  // True: `one` is queued, and will be resumed; false: `grant` is set. Throws pool_error.
  [[nodiscard]] bool obtain_or_queue(waiter& one, std::optional<pool_grant>& grant,
                                     const acquire_request& request);
  // Ends the wait of `one` if it is still queued.
  void cancel(waiter& one) noexcept;
  // Takes `one` out of the queue, or puts back what it was granted, because its coroutine is destroyed.
  void abandon(waiter& one) noexcept;
  // Turns the outcome of a queued wait into a grant; throws pool_error.
  [[nodiscard]] pool_grant collect(waiter& one);
  // Puts back a grant that will not be used.
  void return_grant(pool_grant grant) noexcept;

  // The pool object is gone: close, and destroy this with the last lease.
  void orphan() noexcept;

  [[nodiscard]] time_point now() const noexcept final { return clock_(); }
  void crossed_threads() noexcept final { crossed_threads_.store(true, std::memory_order_relaxed); }
  // Cheap, and as precise as a clock tick (1 to 4 ms) if the pool runs on the system's clock.
  [[nodiscard]] time_point coarse_now() const noexcept;
  [[nodiscard]] time_point deadline_after(duration timeout) const noexcept;
  [[nodiscard]] const object_pool_options& options() const noexcept { return options_; }

 protected:
  ~object_pool_core() = default;
  [[nodiscard]] std::pmr::memory_resource* resource() const noexcept { return resource_; }

 private:
  class section;  // a stretch of code under the mutex, with the stack shut

  virtual void construct_object(pool_slot& slot) = 0;
  virtual void destroy_object(pool_slot& slot) noexcept = 0;
  virtual void destroy_self() noexcept = 0;

  // All below need the mutex.
  void open_unless_needed() noexcept;
  [[nodiscard]] std::optional<pool_grant> grant_now(bool may_wait, pool_errc& why) noexcept;
  [[nodiscard]] bool may_retry_factory(time_point time) const noexcept;
  void serve_waiters(section& in) noexcept {
    if (!waiters_.empty()) {
      serve_waiters(in, now());
    }
  }
  void serve_waiters(section& in, time_point time) noexcept;
  void settle(section& in, waiter& one, wait_outcome outcome, pool_slot* slot = nullptr) noexcept;
  void enqueue(waiter& one) noexcept;
  [[nodiscard]] std::optional<pool_grant> grant_or_admit(const acquire_request& request);
  void admit_waiter(const acquire_request& request);
  void block(section& in, waiter& one);
  [[nodiscard]] time_point wake_time(const waiter& one) const noexcept;
  [[nodiscard]] bool deadlocked(const waiter& one) const noexcept;
  [[nodiscard]] pool_slot& take_vacant();
  void release_slot(pool_slot& slot, destroy_reason reason) noexcept;
  [[nodiscard]] std::optional<destroy_reason> surplus_reason(const pool_slot& slot) noexcept;
  void begin_life(pool_slot& slot) noexcept;
  [[nodiscard]] pool_slot* expire_idle(time_point now) noexcept;
  [[nodiscard]] time_point next_work() noexcept;
  [[nodiscard]] std::vector<outstanding_lease> holders(std::size_t most) const;
  [[noreturn]] void refuse(pool_errc code);

  // Without the mutex.
  void creation_failed(pool_slot* slot, const std::exception_ptr& cause) noexcept;
  void refill(time_point time);

  const object_pool_options options_;
  std::pmr::memory_resource* const resource_;
  const pool_clock clock_;
  slot_table slots_;
  idle_objects idle_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<bool> crossed_threads_{false};

  std::mutex mutex_;
  std::condition_variable drained_;
  std::size_t max_size_;
  bool closed_ = false;
  bool orphaned_ = false;
  std::size_t total_ = 0;
  std::size_t creating_ = 0;
  std::size_t pins_ = 0;  // waiters that still need this control block
  pool_slot* vacant_ = nullptr;
  std::uint32_t slots_used_ = 0;  // slots with a greater index have never been used
  waiter_queue waiters_;
  unsigned failures_ = 0;  // of the factory, in a row
  time_point retry_at_{};
  std::exception_ptr last_failure_;
  std::uint64_t jitter_state_;
  std::uint64_t created_ = 0, adopted_ = 0, waited_ = 0, timed_out_ = 0, cancelled_ = 0;
  std::uint64_t factory_failures_ = 0, retired_uses_ = 0;
  std::array<std::uint64_t, destroy_reason_count> destroyed_{};
  duration wait_time_{};
};

}  // namespace detail
}  // namespace cistern
