// A lock that its holder may take again. Plan: depth; others wait, or are refused, until the last unlock;
// try_lock by holder and others; what it guards is whole; a fork's child.
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/reentrant_mutex.hpp>

#include <atomic>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/threads.hpp"

using cistern::detail::reentrant_mutex;
using cistern::detail::scoped_lock;
using cistern::test_support::require;
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;

// To clang a lock that is held can't be taken.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace {

bool others_get(reentrant_mutex& lock) {
  bool got = false;
  run_thread([&] {
    got = lock.try_lock();
    if (got) lock.unlock();
  });
  return got;
}

}  // namespace

BOOST_AUTO_TEST_CASE(it_is_free_for_others_after_as_many_unlocks_as_locks) {
  reentrant_mutex lock;
  BOOST_TEST(others_get(lock));
  lock.lock();
  lock.lock();
  BOOST_TEST(lock.try_lock());
  for (int depth = 3; depth > 0; --depth) {
    BOOST_TEST(!others_get(lock));
    lock.unlock();
  }
  BOOST_TEST(others_get(lock));
  BOOST_TEST(lock.try_lock());
  BOOST_TEST(!others_get(lock));
  lock.unlock();
  BOOST_TEST(others_get(lock));
}

BOOST_AUTO_TEST_CASE(what_it_guards_is_whole) {
  constexpr std::size_t threads = 4;
  constexpr int rounds = 5000;
  reentrant_mutex lock;
  long counter = 0;  // guarded by lock
  run_threads(threads, [&](std::size_t) {
    for (int i = 0; i < rounds; ++i) {
      const scoped_lock outer(lock);
      const long seen = counter;
      {
        const scoped_lock inner(lock);
        require(counter == seen, "somebody else is inside");
        ++counter;
      }
      require(counter == seen + 1, "somebody came in at the inner unlock");
      ++counter;
    }
  });
  BOOST_TEST(counter == 2L * rounds * static_cast<long>(threads));
}

BOOST_AUTO_TEST_CASE(the_child_of_a_fork_holds_what_its_thread_held) {
  reentrant_mutex lock;
  lock.lock();
  const auto child = cistern::test_support::run_and_die([&] {
    lock.lock();
    lock.unlock();
    lock.unlock();
    lock.lock();
    lock.unlock();
  });
  BOOST_TEST(child.description == "exited with 0");
  lock.unlock();
  BOOST_TEST(others_get(lock));
}
