// The lock lets one thread in at a time, wakes those that sleep, and never lies about being free.
#include <cistern/detail/base/mutex.hpp>

#include <atomic>
#include <cstddef>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "../support/locks.hpp"
#include "../support/threads.hpp"

using cistern::detail::mutex;
using cistern::detail::scoped_lock;
using cistern::test_support::can_be_taken;
using cistern::test_support::require;
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;

static_assert(sizeof(mutex) == 4);

BOOST_AUTO_TEST_CASE(try_lock_tells_whether_it_is_held) {
  mutex m;
  BOOST_TEST(can_be_taken(m));
  {
    const scoped_lock guard(m);
    BOOST_TEST(!can_be_taken(m));
    run_thread([&] { require(!can_be_taken(m), "taken twice"); });
  }
  BOOST_TEST(can_be_taken(m));
}

BOOST_AUTO_TEST_CASE(no_update_is_lost_under_contention) {
  constexpr std::size_t threads = 8;
  constexpr std::size_t rounds = 20'000;
  mutex m;
  std::size_t count = 0;  // no atomic: the lock alone protects it
  bool inside = false;
  run_threads(threads, [&](std::size_t) {
    for (std::size_t i = 0; i < rounds; ++i) {
      const scoped_lock guard(m);
      require(!inside, "two threads are inside");
      inside = true;
      ++count;
      inside = false;
    }
  });
  BOOST_TEST(count == threads * rounds);
}

// A holder that gives up its time slice makes the others spin out and sleep: each must be woken.
BOOST_AUTO_TEST_CASE(every_sleeper_is_woken) {
  constexpr std::size_t threads = 16;
  constexpr std::size_t rounds = 300;
  mutex m;
  std::size_t count = 0;
  run_threads(threads, [&](std::size_t) {
    for (std::size_t i = 0; i < rounds; ++i) {
      const scoped_lock guard(m);
      std::this_thread::yield();
      ++count;
    }
  });
  BOOST_TEST(count == threads * rounds);
}

BOOST_AUTO_TEST_CASE(lock_and_try_lock_exclude_each_other) {
  constexpr std::size_t rounds = 20'000;
  mutex m;
  std::size_t count = 0;
  std::atomic<std::size_t> taken_at_first_try{0};
  run_threads(4, [&](std::size_t index) {
    for (std::size_t i = 0; i < rounds; ++i) {
      if (index % 2 == 0) {
        m.lock();
      } else if (m.try_lock()) {
        ++taken_at_first_try;
      } else {
        continue;
      }
      ++count;
      m.unlock();
    }
  });
  BOOST_TEST(count == 2 * rounds + taken_at_first_try);
}

BOOST_AUTO_TEST_CASE(what_one_holder_wrote_the_next_one_reads) {
  mutex m;
  int turn = 0;
  run_threads(2, [&](std::size_t index) {
    for (int done = 0; done < 1'000;) {
      {
        const scoped_lock guard(m);
        if (turn % 2 == static_cast<int>(index)) {
          ++turn;
          ++done;
          continue;
        }
      }
      std::this_thread::yield();
    }
  });
  BOOST_TEST(turn == 2'000);
}
