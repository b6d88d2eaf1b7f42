// The queue of waiters, and the list that resumes coroutines without nesting.
#include <cistern/detail/objects/waiter_queue.hpp>

#include <algorithm>
#include <array>
#include <vector>

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
  BOOST_TEST(!queue.waits_endlessly(7));
  thread.endless = true;
  BOOST_TEST(queue.waits_endlessly(7));
  BOOST_TEST(!queue.waits_endlessly(8));
}

namespace {

std::vector<int> resumed;
int depth = 0;
int deepest = 0;

struct numbered : waiter {
  int number = 0;
  numbered* follower = nullptr;
};

void resume_numbered(waiter& one) noexcept {
  auto& self = static_cast<numbered&>(one);
  deepest = std::max(deepest, ++depth);
  resumed.push_back(self.number);
  if (self.follower != nullptr) {
    resume_list more;
    more.push_back(*self.follower);
    more.resume_all();
  }
  --depth;
}

}  // namespace

BOOST_AUTO_TEST_CASE(resuming_does_not_nest) {
  std::array<numbered, 3> waiters;
  for (int i = 0; i < 3; ++i) {
    auto& one = waiters[static_cast<std::size_t>(i)];
    one.number = i;
    one.resume = &resume_numbered;
  }
  waiters[0].follower = &waiters[2];  // resumed from inside the first
  resume_list list;
  list.push_back(waiters[0]);
  list.push_back(waiters[1]);
  list.resume_all();
  BOOST_TEST(resumed == (std::vector{0, 1, 2}), boost::test_tools::per_element());
  BOOST_TEST(deepest == 1);
}
