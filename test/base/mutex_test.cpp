// The lock lets one thread in at a time, wakes those that sleep, and never lies about being free.
#include <cistern/detail/base/mutex.hpp>

#include <atomic>
#include <cstddef>
#include <mutex>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "../support/threads.hpp"

using cistern::detail::mutex;
using cistern::test_support::require;
using cistern::test_support::run_threads;

static_assert(sizeof(mutex) == 4);

BOOST_AUTO_TEST_CASE(try_lock_tells_whether_it_is_held) {
  mutex m;
  if (!m.try_lock()) {  // in a form that clang's analysis follows
    BOOST_FAIL("a new one is free");
    return;
  }
  run_threads(1, [&](std::size_t) {
    if (m.try_lock()) {
      m.unlock();
      require(false, "taken twice");
    }
  });
  m.unlock();
  if (!m.try_lock()) {
    BOOST_FAIL("free again");
    return;
  }
  m.unlock();
}

BOOST_AUTO_TEST_CASE(no_update_is_lost_under_contention) {
  constexpr std::size_t threads = 8;
  constexpr std::size_t rounds = 20'000;
  mutex m;
  std::size_t count = 0;  // no atomic: the lock alone protects it
  bool inside = false;
  run_threads(threads, [&](std::size_t) {
    for (std::size_t i = 0; i < rounds; ++i) {
      const std::lock_guard guard(m);
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
      const std::lock_guard guard(m);
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
        const std::lock_guard guard(m);
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
