// fork_guard: whose locks are held at a fork, in which order, and what the child is told.
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "../support/forking.hpp"
#include "../support/threads.hpp"

using cistern::detail::fork_participant;
using cistern::detail::held_at_fork;
using cistern::detail::hold_at_fork;
using cistern::detail::let_go_at_fork;
using cistern::detail::lock_visitor;
using cistern::test_support::fork_fault;
using cistern::test_support::require;

namespace {

class two_locks final : public fork_participant {
 public:
  two_locks() { hold_at_fork(*this); }
  ~two_locks() { let_go_at_fork(*this); }
  two_locks(const two_locks&) = delete;
  two_locks& operator=(const two_locks&) = delete;

  bool each_lock(lock_visitor& visit) noexcept override { return visit(first) && visit(second); }
  void forget_other_threads() noexcept override {
    ++told;
    require(!second.try_lock(), "told without the locks held");
  }

  cistern::detail::mutex first;
  std::mutex second;
  std::atomic<int> told{0};
};

/// What has two locks of `inner` for each of `outer` that it takes, until it ends.
template <class Step>
class busy_thread {
 public:
  explicit busy_thread(Step step)
      : step_(step), thread_([this] {
          while (!stop_) {
            step_();
            ++steps_;
          }
        }) {
    wait_for_progress();
  }
  ~busy_thread() {
    stop_ = true;
    thread_.join();
  }
  busy_thread(const busy_thread&) = delete;
  busy_thread& operator=(const busy_thread&) = delete;

  void wait_for_progress() const {
    for (const std::size_t before = steps_; steps_ < before + 2;) {
      std::this_thread::yield();
    }
  }

 private:
  Step step_;
  std::atomic<bool> stop_{false};
  std::atomic<std::size_t> steps_{0};
  std::thread thread_;
};

/// A lock that others are said to hold at first, and that knows whether it may be let go of.
struct watched_lock {
  void lock() noexcept {
    require(!held, "taken twice");
    held = true;
  }
  bool try_lock() noexcept {
    if (busy_tries > 0) {
      --busy_tries;
      return false;
    }
    lock();
    return true;
  }
  void unlock() noexcept {
    require(held, "let go of without having been taken");
    held = false;
  }
  int busy_tries = 0;
  bool held = false;
};

struct watched_locks final : fork_participant {
  watched_locks() { hold_at_fork(*this); }
  ~watched_locks() { let_go_at_fork(*this); }
  watched_locks(const watched_locks&) = delete;
  watched_locks& operator=(const watched_locks&) = delete;
  bool each_lock(lock_visitor& visit) noexcept override {
    return visit(first) && visit(second) && visit(third);
  }
  watched_lock first;
  watched_lock second;
  watched_lock third;
};

void require_free(auto& lock) {
  if (lock.try_lock()) {
    lock.unlock();
  } else {
    require(false, "a lock is held in the child");
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_child_finds_every_lock_free_and_is_told_once) {
  two_locks one;
  const busy_thread busy([&] {
    const std::scoped_lock first(one.first);
    const std::scoped_lock second(one.second);
  });
  for (int i = 0; i < 50; ++i) {
    BOOST_TEST(fork_fault([&] {
                 require_free(one.first);
                 require_free(one.second);
                 require(one.told == 1, "told");
               }) == "");
    busy.wait_for_progress();  // so the parent's are free as well
  }
  BOOST_TEST(one.told == 0);
}

// Whatever the order in which they were registered, and even if it's the wrong one for each pair.
BOOST_AUTO_TEST_CASE(participants_that_take_each_others_locks_in_any_order) {
  std::array<cistern::detail::mutex, 4> locks;
  const std::array<held_at_fork<cistern::detail::mutex>, 4> held{
      held_at_fork(locks[0]), held_at_fork(locks[1]), held_at_fork(locks[2]), held_at_fork(locks[3])};
  const busy_thread up([&] {
    const std::scoped_lock first(locks[0]);
    const std::scoped_lock second(locks[1]);
    const std::scoped_lock third(locks[2]);
    const std::scoped_lock fourth(locks[3]);
  });
  for (int i = 0; i < 100; ++i) {
    BOOST_TEST(fork_fault([&] {
                 for (cistern::detail::mutex& lock : locks) {
                   require_free(lock);
                 }
               }) == "");
    up.wait_for_progress();
  }
}

// Where the second lock stays busy, the first goes back, and the third was never had.
BOOST_AUTO_TEST_CASE(what_a_fork_could_not_take_it_does_not_let_go_of) {
  watched_locks busy;
  const watched_locks in_front;  // so the other one is only tried
  busy.second.busy_tries = 10'000;
  BOOST_TEST(
      fork_fault([&] { require(!busy.first.held && !busy.second.held && !busy.third.held, "held"); }) == "");
  BOOST_TEST(!busy.first.held);
  BOOST_TEST(!busy.second.held);
  BOOST_TEST(!busy.third.held);
  BOOST_TEST(busy.second.busy_tries > 0);  // it was waited for in the end
}

BOOST_AUTO_TEST_CASE(who_has_gone_is_not_asked_any_more) {
  { const two_locks one; }
  auto twice = std::make_unique<two_locks>();
  hold_at_fork(*twice);  // once is enough, and twice no harm
  twice.reset();
  BOOST_TEST(fork_fault([] {}) == "");
}
