// The queue of waiters.
#include <cistern/detail/objects/waiter_queue.hpp>

#include <array>

#include <boost/test/unit_test.hpp>

using namespace cistern::detail;

BOOST_AUTO_TEST_CASE(waiters_leave_in_order_or_from_anywhere) {
  waiter_queue queue;
  std::array<waiter, 4> waiters;
  BOOST_TEST(queue.empty());
  for (waiter& one : waiters) {
    queue.push_back(one);
  }
  BOOST_TEST(queue.size() == 4U);
  queue.unlink(waiters[1]);  // from the middle
  queue.unlink(waiters[3]);  // the last
  BOOST_TEST(queue.front() == &waiters[0]);
  queue.unlink(waiters[0]);  // the first
  BOOST_TEST(queue.front() == &waiters[2]);
  queue.push_back(waiters[1]);  // may come again
  queue.unlink(waiters[2]);
  BOOST_TEST(queue.front() == &waiters[1]);
  queue.unlink(waiters[1]);
  BOOST_TEST(queue.empty());
  BOOST_TEST(queue.size() == 0U);
}

BOOST_AUTO_TEST_CASE(threads_are_told_from_coroutines) {
  waiter_queue queue;
  std::condition_variable wake;
  waiter coroutine;
  waiter thread;
  thread.wake = &wake;
  thread.thread = 7;
  queue.push_back(coroutine);
  BOOST_TEST(queue.first_thread() == nullptr);
  queue.push_back(thread);
  BOOST_TEST(queue.first_thread() == &thread);
  BOOST_TEST(queue.endless_wait_of(7) == nullptr);
  thread.endless = true;
  BOOST_TEST(queue.endless_wait_of(7) == &thread);
  BOOST_TEST(queue.endless_wait_of(8) == nullptr);
}

BOOST_AUTO_TEST_CASE(each_thread_finds_the_coroutines_that_it_is_to_resume) {
  waiter_queue queue;
  std::array<waiter, 3> waiters;
  waiters[0].resumer = 7;
  waiters[1].resumer = waiters[2].resumer = 8;
  for (waiter& one : waiters) {
    queue.push_back(one);
    BOOST_TEST(one.queue == &queue);
  }
  BOOST_TEST(queue.first_for(7) == &waiters[0]);
  BOOST_TEST(queue.first_for(8) == &waiters[1]);
  BOOST_TEST(queue.first_for(9) == nullptr);
  queue.unlink(waiters[1]);
  BOOST_TEST(waiters[1].queue == nullptr);
  BOOST_TEST(queue.first_for(8) == &waiters[2]);
}
