// yielding_waits: what the standard's mutex, condition variable and stop tokens mean in the sources of a
// program whose threads a seed schedules.
#pragma once

// Forced in front of every source, behind yielding_atomic.hpp. The standard's would block a thread while the
// one that it waits for isn't let on.
#include <list>
#include <utility>

#include "scheduler.hpp"

namespace std {

// Only one thread runs at a time, and it changes only at points: so these need no lock of their own.

class cistern_yielding_mutex {
 public:
  void lock() noexcept {
    cistern::test_support::schedule_point();
    while (held_) (void)cistern::test_support::schedule_others();
    held_ = true;
  }
  [[nodiscard]] bool try_lock() noexcept {
    cistern::test_support::schedule_point();
    return !exchange(held_, true);
  }
  void unlock() noexcept {
    held_ = false;
    cistern::test_support::schedule_point();
  }

 private:
  bool held_ = false;
};

class cistern_yielding_condition_variable {
 public:
  cistern_yielding_condition_variable() = default;
  cistern_yielding_condition_variable(const cistern_yielding_condition_variable&) = delete;
  cistern_yielding_condition_variable& operator=(const cistern_yielding_condition_variable&) = delete;

  void notify_one() noexcept {
    if (!sleepers_.empty()) {
      *sleepers_.front() = true;
      sleepers_.pop_front();
    }
  }
  void notify_all() noexcept {
    while (!sleepers_.empty()) notify_one();
  }
  void wait(unique_lock<cistern_yielding_mutex>& lock) {
    sleep(lock, [] {
      return cistern::test_support::waits_may_be_spurious() && cistern::test_support::schedule_chance(16);
    });
  }
  /// The seed says when it is time: sleepers look at their own clock.
  template <class Time>
  void wait_until(unique_lock<cistern_yielding_mutex>& lock, const Time&) {
    sleep(lock, [] { return cistern::test_support::schedule_chance(8); });
  }

 private:
  template <class Condition>
  void sleep(unique_lock<cistern_yielding_mutex>& lock, Condition enough) {
    bool woken = false;
    sleepers_.push_back(&woken);
    lock.unlock();
    while (!woken && !enough()) (void)cistern::test_support::schedule_others();
    if (!woken) sleepers_.remove(&woken);
    lock.lock();
  }

  list<bool*> sleepers_;
};

/// What a stop source, its tokens and their callbacks share.
struct cistern_stop_state {
  struct callback {
    virtual void call() noexcept = 0;

   protected:
    ~callback() = default;
  };
  bool requested = false;
  list<callback*> callbacks;
  callback* running = nullptr;
  thread::id runner;
};

class cistern_yielding_stop_token {
 public:
  cistern_yielding_stop_token() = default;
  explicit cistern_yielding_stop_token(shared_ptr<cistern_stop_state> state) : state_(std::move(state)) {}
  [[nodiscard]] bool stop_requested() const noexcept {
    cistern::test_support::schedule_point();
    return state_ && state_->requested;
  }
  [[nodiscard]] bool stop_possible() const noexcept { return state_ != nullptr; }

 private:
  template <class Function>
  friend class cistern_yielding_stop_callback;
  shared_ptr<cistern_stop_state> state_;
};

class cistern_yielding_stop_source {
 public:
  [[nodiscard]] cistern_yielding_stop_token get_token() const { return cistern_yielding_stop_token(state_); }
  bool request_stop() noexcept {
    cistern::test_support::schedule_point();
    const shared_ptr<cistern_stop_state> state = state_;
    if (exchange(state->requested, true)) return false;
    state->runner = this_thread::get_id();
    while (!state->callbacks.empty()) {
      state->running = state->callbacks.front();
      state->callbacks.pop_front();
      state->running->call();
      state->running = nullptr;
      cistern::test_support::schedule_point();
    }
    return true;
  }

 private:
  shared_ptr<cistern_stop_state> state_ = make_shared<cistern_stop_state>();
};

template <class Function>
class cistern_yielding_stop_callback final : cistern_stop_state::callback {
 public:
  template <class Call>
  cistern_yielding_stop_callback(const cistern_yielding_stop_token& token, Call&& call)
      : state_(token.state_), call_(std::forward<Call>(call)) {
    cistern::test_support::schedule_point();
    if (!state_) return;
    if (state_->requested) {
      call_();
    } else {
      state_->callbacks.push_back(this);
    }
  }
  cistern_yielding_stop_callback(const cistern_yielding_stop_callback&) = delete;
  cistern_yielding_stop_callback& operator=(const cistern_yielding_stop_callback&) = delete;
  /// Waits for a call that another thread is at.
  ~cistern_yielding_stop_callback() {
    cistern::test_support::schedule_point();
    if (!state_) return;
    state_->callbacks.remove(this);
    while (state_->running == this && state_->runner != this_thread::get_id()) {
      if (!cistern::test_support::schedule_others()) break;  // a thread that this child of a fork hasn't
    }
  }

 private:
  void call() noexcept override { call_(); }

  shared_ptr<cistern_stop_state> state_;
  Function call_;
};
template <class Function>
cistern_yielding_stop_callback(cistern_yielding_stop_token, Function)
    -> cistern_yielding_stop_callback<Function>;

namespace this_thread {

inline void cistern_yield() noexcept {
  (void)cistern::test_support::schedule_others();
}
template <class Time>
void cistern_sleep_for(const Time&) noexcept {
  (void)cistern::test_support::schedule_others();
}

}  // namespace this_thread
}  // namespace std

#define mutex cistern_yielding_mutex
#define condition_variable cistern_yielding_condition_variable
#define stop_token cistern_yielding_stop_token
#define stop_source cistern_yielding_stop_source
#define stop_callback cistern_yielding_stop_callback
#define yield cistern_yield
#define sleep_for cistern_sleep_for
