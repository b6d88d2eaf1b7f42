// A patient lock is taken if it is free or soon will be, and given up if its holder doesn't let go.
#include "../../src/base/patient_lock.hpp"

#include <cistern/detail/base/mutex.hpp>

#include <atomic>
#include <thread>

#include <boost/test/unit_test.hpp>

using cistern::detail::mutex;
using cistern::detail::patient_lock;

BOOST_AUTO_TEST_CASE(a_free_lock_is_taken_and_given_back) {
  mutex lock;
  {
    const patient_lock guard(lock);
    BOOST_TEST(guard.holds());
    BOOST_TEST(!lock.try_lock());
  }
  const bool is_free = lock.try_lock();
  BOOST_TEST(is_free);
  if (is_free) lock.unlock();
}

BOOST_AUTO_TEST_CASE(what_its_own_thread_holds_is_given_up_and_left_alone) {
  mutex lock;
  lock.lock();
  {
    const patient_lock guard(lock);
    BOOST_TEST(!guard.holds());
  }
  BOOST_TEST(!lock.try_lock());
  lock.unlock();
}

BOOST_AUTO_TEST_CASE(holders_exclude_each_other) {
  mutex lock;
  int counted = 0;
  int taken = 0;
  std::atomic<int> started{0};
  const auto count = [&](int& own) {
    ++started;
    while (started < 2) std::this_thread::yield();
    for (int i = 0; i < 10'000; ++i) {
      if (const patient_lock guard(lock); guard.holds()) {
        ++counted;
        ++own;
      }
    }
  };
  int other_taken = 0;
  std::thread other([&] { count(other_taken); });
  count(taken);
  other.join();
  BOOST_TEST(counted == taken + other_taken);
  BOOST_TEST(counted > 0);
}
