#include "object_pool_control.hpp"

#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/exception_of.hpp>
#include <cistern/detail/objects/object_pool_control.hpp>

#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "../base/patient_lock.hpp"
#include "../base/split_mix.hpp"
#include "pool_error.hpp"

namespace cistern::detail {

namespace {

constexpr duration first_pause = std::chrono::milliseconds{10};

// The next number of the SplitMix64 sequence, as a fraction from 0 to below 1.
double next_fraction(std::uint64_t& state) noexcept {
  return static_cast<double>(split_mixed(state += split_mix_step) >> 11) * 0x1.0p-53;
}

std::string describe(pool_errc code, std::size_t in_use, std::size_t max_size) {
  return "object_pool: " + make_error_code(code).message() + "; " + std::to_string(in_use) + " of " +
         (max_size == no_limit ? std::string("unlimited") : std::to_string(max_size)) + " objects in use";
}

// Throws pool_error (factory_failed) with `cause`, and what it says.
[[noreturn]] void throw_factory_failed(const std::exception_ptr& cause) {
  std::string what = "object_pool: the factory failed";
  try {
    std::rethrow_exception(cause);
  } catch (const std::exception& error) {
    what += std::string(": ") + error.what();
  } catch (...) {
    what += ": with something that is not a std::exception";
  }
  throw pool_error(pool_errc::factory_failed, what, cause);
}

}  // namespace

std::uint64_t next_thread_number() noexcept {
  static std::atomic<std::uint64_t> last{0};
  // Relaxed: only uniqueness matters.
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

object_pool_control::object_pool_control(const object_pool_options& options,
                                         std::pmr::memory_resource* resource, slot_table::slot_type type,
                                         pool_clock clock)
    : options_(options),
      accounts_(resource, type),
      resource_(resource),
      holders_(std::make_shared<lease_holders>(
          *this, [](object_pool_control& pool, std::size_t most) { return pool.holders_for_error(most); })),
      clock_(clock),
      system_clock_(is_system_clock(clock)),
      // Different in every process, so that a fleet's connections don't all expire in the same second.
      jitter_state_(static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) ^
                    reinterpret_cast<std::uintptr_t>(this)) {
  hold_at_fork(*this);
}

object_pool_control::~object_pool_control() {
  let_go_at_fork(*this);
}

// By a clock of the user's. It is asked in the middle of all that mustn't be left there.
time_point object_pool_control::users_time() const noexcept {
  const no_cancellation of_the_clock;
  return clock_();
}

// ---- objects come ----

void object_pool_control::begin_life(pool_slot& slot) noexcept {
  slot.created_at = slot.idle_since = now();
  slot.expires_at = time_point::max();
  // A lifetime of centuries needs no jitter, and could overflow.
  if (options_.max_lifetime < forever / 2) {
    const double share = 1.0 - options_.lifetime_jitter * next_fraction(jitter_state_);
    const auto lifetime =
        duration{static_cast<duration::rep>(static_cast<double>(options_.max_lifetime.count()) * share)};
    slot.expires_at = later(slot.created_at, std::min(lifetime, options_.max_lifetime));
  }
}

pool_slot& object_pool_control::create_granted() {
  unfinished_creation creation(*this);
  pool_slot*& slot = creation.slot;
  {
    const section in(*this);
    slot = &accounts_.make_slot();
    slot->home = this;
    slot->retained_bytes = 0;
    slot->generation = generation_.load(std::memory_order_relaxed);
  }
  const std::exception_ptr cause = exception_of([&] { construct_object(*slot); });
  creation.finished = true;
  if (cause) {
    creation_failed(*slot, cause);
    throw_factory_failed(cause);
  }
  std::exception_ptr dropped;  // destroyed after the section: exceptions are user code
  section in(*this);
  accounts_.finish_creation(true);
  failures_ = 0;
  std::swap(dropped, last_failure_);
  begin_life(*slot);
  serve_waiters();
  return *slot;
}

void object_pool_control::creation_failed(pool_slot& slot, const std::exception_ptr& cause) noexcept {
  std::exception_ptr recorded = cause;  // afterwards the one before; destroyed after the section
  section in(*this);
  accounts_.cancel_creation();
  accounts_.remove_empty(slot);
  accounts_.count_factory_failure();
  failures_ = std::min(failures_ + 1, 30U);
  const duration pause = first_pause * (std::int64_t{1} << (failures_ - 1));
  retry_at_ = later(now(), std::min(pause, options_.backoff_max));
  std::swap(last_failure_, recorded);
  note_vacancy();
  serve_waiters();
}

void object_pool_control::give_up_if_late(pool_slot& slot, const acquire_request& request) {
  {
    const section in(*this);
    if (!closed_ && !is_over(request)) {
      return;
    }
    ++pins_;  // the pool may go together with this object
  }
  put_back(slot);
  const section in(*this);
  --pins_;
  refuse_if_over(request);
}

void object_pool_control::give_up_if_late(const acquire_request& request) {
  if (is_over(request)) {
    const section in(*this);
    refuse_if_over(request);
  }
}

void object_pool_control::refuse_if_over(const acquire_request& request) {
  if (closed_) {
    refuse(pool_errc::closed);
  }
  if (request.stop.stop_requested()) {
    refuse(pool_errc::cancelled);
  }
  if (deadline_passed(request)) {
    refuse(pool_errc::timeout);
  }
}

pool_slot* object_pool_control::reserve_for_adoption() {
  const section in(*this);
  if (closed_ || !has_room_to_adopt()) {
    return nullptr;
  }
  pool_slot& slot = accounts_.make_slot();
  slot.home = this;
  slot.retained_bytes = 0;
  slot.generation = generation_.load(std::memory_order_relaxed);
  accounts_.begin_creation();
  return &slot;
}

void object_pool_control::cancel_creation(pool_slot* slot) noexcept {
  section in(*this);
  if (slot != nullptr) {
    accounts_.remove_empty(*slot);
  }
  accounts_.cancel_creation();
  note_vacancy();
  serve_waiters();
}

void object_pool_control::finish_adoption(pool_slot& slot) noexcept {
  {
    const section in(*this);
    accounts_.finish_creation(false);
    begin_life(slot);
  }
  put_back(slot);
}

void object_pool_control::warm(std::size_t idle_objects) {
  for (;;) {
    {
      const section in(*this);
      const bool enough = idle_count() + creating() >= idle_objects;
      if (closed_ || enough || !has_room_to_idle()) {
        return;
      }
      accounts_.begin_creation();
    }
    put_back(create_granted());
  }
}

void object_pool_control::refill(time_point time) {
  for (;;) {
    {
      const section in(*this);
      const bool enough = idle_count() + creating() >= options_.min_idle;
      if (closed_ || enough || !has_room_to_idle() || !may_retry_factory(time)) {
        return;
      }
      accounts_.begin_creation();
    }
    try {
      put_back(create_granted());
    } catch (const pool_error&) {
      return;
    }
  }
}

// ---- and go ----

void object_pool_control::dispose(pool_slot& slot, destroy_reason reason) noexcept {
  destroy_object(slot);
  vacate(slot, reason);
}

void object_pool_control::vacate(pool_slot& slot, destroy_reason reason) noexcept {
  section in(*this);
  accounts_.remove(slot, reason);
  serve_waiters();
  note_vacancy();
}

void object_pool_control::dispose_all(pool_slot* first) noexcept {
  while (first != nullptr) {
    pool_slot& slot = *std::exchange(first, first->link);
    dispose(slot, slot.reason);
  }
}

void object_pool_control::dispose_all(pool_slot* first, destroy_reason reason) noexcept {
  while (first != nullptr) {
    dispose(*std::exchange(first, first->link), reason);
  }
}

drain_report object_pool_control::drain(time_point deadline) {
  close();
  const section in(*this);
  while (accounts_.total() > 0) {
    const time_point current = now();
    if (current >= deadline) {
      break;
    }
    if (deadline == time_point::max()) {
      mutex_.wait(drained_);
    } else {
      mutex_.wait_until(drained_, later(std::chrono::steady_clock::now(), deadline - current));
    }
  }
  return {accounts_.holders(now(), no_limit)};
}

void object_pool_control::orphan() noexcept {
  close();
  holders_->forget_pool();
  const section in(*this);
  orphaned_ = true;
}

// ---- fork ----

bool object_pool_control::each_lock(lock_visitor& visit) noexcept {
  return holders_->visit_lock(visit) && visit(mutex_);
}

// A condition variable counts those who wait at it, and in time waits for them: here they never leave.
void object_pool_control::forget_other_threads() noexcept {
  ::new (&drained_) std::condition_variable;
  lost_creations_ = accounts_.creating();
}

// ---- reports ----

void object_pool_control::refuse(pool_errc code) {
  accounts_.count_refusal(code);
  const bool names_holders = code != pool_errc::closed && code != pool_errc::cancelled;
  const std::size_t in_use = accounts_.total() - idle_count() - accounts_.creating();
  throw pool_error(code, describe(code, in_use, max_size()),
                   code == pool_errc::timeout ? last_failure_ : nullptr, names_holders ? holders_ : nullptr);
}

std::vector<outstanding_lease> object_pool_control::holders(std::size_t most) {
  const section in(*this);
  return accounts_.holders(now(), most);
}

// An error that nobody catches is asked for its text where it was thrown, with the lock held.
std::vector<outstanding_lease> object_pool_control::holders_for_error(std::size_t most)
    CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  const patient_lock in(mutex_);
  return in.holds() ? accounts_.holders(now(), most) : std::vector<outstanding_lease>{};
}

object_pool_statistics object_pool_control::statistics() {
  const section in(*this);
  object_pool_statistics s;
  accounts_.report(s);
  s.max = max_size();
  s.idle = idle_count();
  s.in_use = s.total - std::min(s.total, s.idle + s.creating);
  report(s);
  return s;
}

std::size_t object_pool_control::idle() noexcept {
  const section in(*this);
  return idle_count();
}

bool object_pool_control::check_invariants() noexcept {
  const section in(*this);
  return accounts_.balanced() && idle_count() + accounts_.creating() <= accounts_.total() &&
         policy_invariants();
}

}  // namespace cistern::detail
