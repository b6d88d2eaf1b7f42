// waitable_mutex: lets one thread in at a time, and who waits under it lets others in meanwhile.
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/waitable_mutex.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "../support/locks.hpp"
#include "../support/threads.hpp"

using cistern::detail::scoped_lock;
using cistern::detail::waitable_mutex;
using cistern::test_support::can_be_taken;
using cistern::test_support::require;
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;

namespace {

struct turns {
  waitable_mutex mutex;
  std::condition_variable changed;
  int next CISTERN_GUARDED_BY(mutex) = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(try_lock_tells_whether_it_is_held) {
  waitable_mutex mutex;
  {
    const scoped_lock lock(mutex);
    run_thread([&] { require(!can_be_taken(mutex), "taken twice"); });
  }
  run_thread([&] { require(can_be_taken(mutex), "free, and not to be had"); });
}

BOOST_AUTO_TEST_CASE(who_waits_lets_others_in_and_comes_back_with_the_lock) {
  constexpr int rounds = 1'000;
  turns t;
  run_threads(2, [&](std::size_t index) {
    for (int i = 0; i < rounds; ++i) {
      const scoped_lock lock(t.mutex);
      while (t.next % 2 != static_cast<int>(index)) {
        t.mutex.wait(t.changed);
      }
      ++t.next;
      t.changed.notify_one();
    }
  });
  const scoped_lock lock(t.mutex);
  BOOST_TEST(t.next == 2 * rounds);
}

BOOST_AUTO_TEST_CASE(a_deadline_ends_the_wait_with_the_lock_held) {
  turns t;
  {
    const scoped_lock lock(t.mutex);
    t.mutex.wait_until(t.changed, std::chrono::steady_clock::now());
    run_thread([&] { require(!can_be_taken(t.mutex), "not held after the wait"); });
  }
  BOOST_TEST(can_be_taken(t.mutex));
}
