// Waiting for an object: the order of service, hand-off, cancellation, closing and deadlock.
#include <cistern/object_pool.hpp>

#include <atomic>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/object_pool_support.hpp"

using namespace cistern;
using namespace cistern::test;

BOOST_AUTO_TEST_CASE(waiters_are_served_in_order) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto one = pool.acquire();
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      auto mine = pool.acquire();
      const std::scoped_lock lock(mutex);
      order.push_back(i);
    });
    yield_until_waiting(pool, static_cast<std::size_t>(i) + 1);
  }
  one.give_back();
  threads.clear();
  BOOST_TEST(order == (std::vector{0, 1, 2, 3, 4, 5, 6, 7}), boost::test_tools::per_element());
  BOOST_TEST(counts.created == 1);
  BOOST_TEST(pool.statistics().waited == 8U);
}

BOOST_AUTO_TEST_CASE(a_given_back_object_goes_to_the_waiter_and_not_to_the_giver) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto one = pool.acquire();
  std::atomic<bool> got{false};
  std::jthread other([&] {
    auto mine = pool.acquire();
    got = true;
    yield_until([&] { return pool.statistics().waiting == 1; });
  });
  yield_until_waiting(pool, 1);
  one.give_back();
  // Already handed over, whether the other thread has woken up or not.
  BOOST_TEST(!pool.try_acquire().has_value());
  BOOST_TEST(pool.idle() == 0U);
  auto next = pool.acquire();
  BOOST_TEST(got);
}

BOOST_AUTO_TEST_CASE(a_discarded_object_makes_room_for_a_waiter) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto one = pool.acquire();
  int id = -1;
  std::jthread other([&] { id = pool.acquire()->id; });
  yield_until_waiting(pool, 1);
  one.discard();
  other.join();
  BOOST_TEST(id == 1);
}

BOOST_AUTO_TEST_CASE(resize_serves_waiters) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto one = pool.acquire();
  std::vector<std::jthread> threads;
  std::latch holding(3);
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      auto mine = pool.acquire();
      holding.arrive_and_wait();
    });
  }
  yield_until_waiting(pool, 3);
  pool.resize(4);
  threads.clear();
  BOOST_TEST(pool.statistics().total == 4U);
  BOOST_TEST(pool.check_invariants());
}

BOOST_AUTO_TEST_CASE(close_wakes_every_waiter) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto one = pool.acquire();
  std::atomic<int> closed{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { closed += error_of([&] { return pool.acquire(); }) == pool_errc::closed; });
  }
  yield_until_waiting(pool, 8);
  pool.close();
  threads.clear();
  BOOST_TEST(closed == 8);
}

BOOST_AUTO_TEST_CASE(a_stop_token_ends_the_wait) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto one = pool.acquire();
  std::stop_source source;
  std::error_code seen;
  std::jthread other(
      [&] { seen = error_of([&] { return pool.acquire_until(time_point::max(), source.get_token()); }); });
  yield_until_waiting(pool, 1);
  source.request_stop();
  other.join();
  BOOST_TEST((seen == pool_errc::cancelled));
  one.give_back();
  BOOST_TEST(pool.idle() == 1U);  // not lost on the waiter that left
  BOOST_TEST(pool.statistics().cancelled == 1U);
}

BOOST_AUTO_TEST_CASE(a_waiter_that_was_cancelled_gets_no_object) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto held = pool.acquire();
  std::stop_source source;
  std::atomic<bool> cancelled{false};
  std::atomic<int> got{-1};
  {
    std::jthread first([&] {
      cancelled = error_of([&] { return pool.acquire_for(1h, source.get_token()); }) == pool_errc::cancelled;
    });
    yield_until_waiting(pool, 1);
    std::jthread second([&] { got = pool.acquire()->id; });
    yield_until_waiting(pool, 2);
    source.request_stop();
    yield_until([&] { return pool.statistics().waiting == 1; });
    held.give_back();
  }
  BOOST_TEST(cancelled);
  BOOST_TEST(got == 0);
  BOOST_TEST(pool.idle() == 1U);
  BOOST_TEST(pool.statistics().cancelled == 1U);
}

BOOST_AUTO_TEST_CASE(a_jthread_that_waits_can_be_joined) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto one = pool.acquire();
  std::error_code seen;
  {
    std::jthread worker(
        [&](std::stop_token stop) { seen = error_of([&] { return pool.acquire_for(forever, stop); }); });
    yield_until_waiting(pool, 1);
  }
  BOOST_TEST((seen == pool_errc::cancelled));
}

BOOST_AUTO_TEST_CASE(no_more_than_max_waiters_may_wait) {
  tally counts;
  thing_pool pool({.max_size = 1, .max_waiters = 1}, {&counts});
  auto one = pool.acquire();
  std::jthread other([&] { (void)pool.acquire(); });
  yield_until_waiting(pool, 1);
  BOOST_TEST((error_of([&] { return pool.acquire(); }) == pool_errc::exhausted));
  one.give_back();
}

BOOST_AUTO_TEST_CASE(a_creation_that_fails_is_the_end_of_a_drain_too) {
  tally counts;
  std::atomic<bool> creating{false};
  std::atomic<bool> closed{false};
  thing_pool pool({}, {&counts, nullptr, nullptr, [&] {
                         creating = true;
                         yield_until([&] { return closed.load(); });
                         throw std::runtime_error("no connection");
                       }});
  std::error_code seen;
  std::jthread creator([&] { seen = error_of([&] { return pool.acquire(); }); });
  yield_until([&] { return creating.load(); });
  pool.close();
  closed = true;
  BOOST_TEST(pool.drain(forever).drained());
  creator.join();
  BOOST_TEST(seen == pool_errc::factory_failed);
}

BOOST_AUTO_TEST_CASE(drain_waits_for_the_last_lease) {
  tally counts;
  thing_pool pool({.max_size = 4}, {&counts});
  std::vector<std::jthread> threads;
  std::latch holding(5);
  std::atomic<bool> closing{false};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      auto mine = pool.acquire();
      holding.arrive_and_wait();
      yield_until([&] { return closing.load(); });
    });
  }
  holding.arrive_and_wait();
  std::jthread closer([&] {
    yield_until([&] { return error_of([&] { return pool.acquire_for(0s); }) == pool_errc::closed; });
    closing = true;
  });
  BOOST_TEST(pool.drain(forever).drained());
  BOOST_TEST(counts.alive == 0);
}

BOOST_AUTO_TEST_CASE(a_pool_may_be_destroyed_while_threads_wait) {
  tally counts;
  std::optional<thing_pool> pool(std::in_place, object_pool_options{.max_size = 1}, thing_lifecycle{&counts});
  auto one = pool->acquire();
  std::vector<std::jthread> threads;
  std::atomic<int> closed{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back(
        [&, &p = *pool] { closed += error_of([&] { return p.acquire(); }) == pool_errc::closed; });
  }
  yield_until_waiting(*pool, 4);
  pool.reset();
  threads.clear();
  BOOST_TEST(closed == 4);
  one.give_back();
  BOOST_TEST(counts.alive == 0);
}

// The first thread that waits sleeps no longer than until a failing factory may be asked again; so must the
// next, once that one is gone.
BOOST_AUTO_TEST_CASE(when_the_first_gives_up_the_next_asks_the_factory_again) {
  manual_clock::reset();
  tally counts;
  std::atomic<int> failures{1};
  thing_pool pool({.max_size = 1}, {&counts, &failures}, nullptr, &manual_clock::now);
  BOOST_TEST((error_of([&] { return pool.acquire(); }) == pool_errc::factory_failed));
  std::stop_source gives_up;
  std::jthread first([&] {
    BOOST_TEST(
        (error_of([&] { return pool.acquire_for(forever, gives_up.get_token()); }) == pool_errc::cancelled));
  });
  yield_until_waiting(pool, 1);
  std::atomic<bool> served{false};
  std::jthread second([&] { served = !error_of([&] { return pool.acquire(); }); });
  yield_until_waiting(pool, 2);
  gives_up.request_stop();
  first.join();
  manual_clock::advance(1h);
  // It looks at the clock within moments, or never.
  const auto enough = std::chrono::steady_clock::now() + 20s;
  yield_until([&] { return served.load() || std::chrono::steady_clock::now() > enough; });
  pool.close();
  second.join();
  BOOST_TEST(served.load());
}

// ---- hold and wait ----

BOOST_AUTO_TEST_CASE(a_thread_that_waits_for_what_it_holds_is_told) {
  tally counts;
  thing_pool pool({.max_size = 2, .detect_deadlock = true}, {&counts});
  std::vector<lease<thing>> held;
  held.push_back(pool.acquire());
  held.push_back(pool.acquire());
  try {
    (void)pool.acquire();
    BOOST_ERROR("must not hang");
  } catch (const pool_error& error) {
    BOOST_TEST((error.code() == pool_errc::would_deadlock));
    BOOST_TEST(error.holders().size() == 2U);
  }
  BOOST_TEST(pool.statistics().waiting == 0U);
  held.clear();
  BOOST_TEST(bool(pool.acquire()));
  BOOST_TEST(pool.check_invariants());
}

BOOST_AUTO_TEST_CASE(threads_that_hold_one_and_want_another_do_not_hang) {
  tally counts;
  thing_pool pool({.max_size = 4, .detect_deadlock = true}, {&counts});
  std::latch all_hold(4);
  std::atomic<int> told{0};
  std::atomic<int> served{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      auto first = pool.acquire();
      all_hold.arrive_and_wait();
      const auto error = error_of([&] { return pool.acquire(); });
      told += error == pool_errc::would_deadlock;
      served += !error;
    });
  }
  threads.clear();
  BOOST_TEST(told >= 1);
  BOOST_TEST(told + served == 4);
}

// The other object is one too many when it comes back, so nobody gets it.
BOOST_AUTO_TEST_CASE(a_deadlock_that_a_resize_brings_about_is_told) {
  tally counts;
  thing_pool pool({.max_size = 2, .detect_deadlock = true}, {&counts});
  auto other = pool.acquire();
  std::error_code error;
  std::jthread holder([&] {
    const auto mine = pool.acquire();
    error = error_of([&] { return pool.acquire(); });
  });
  yield_until_waiting(pool, 1);
  pool.resize(1);
  BOOST_TEST(pool.statistics().waiting == 1U);
  other.give_back();
  BOOST_TEST(pool.statistics().waiting == 0U);
  pool.close();  // or it would wait for ever
  holder.join();
  BOOST_TEST((error == pool_errc::would_deadlock));
}

BOOST_AUTO_TEST_CASE(a_wait_with_an_end_is_never_a_deadlock) {
  manual_clock::reset();
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts}, nullptr, &manual_clock::now);
  auto one = pool.acquire();
  BOOST_TEST((error_of([&] { return pool.acquire_for(0s); }) == pool_errc::timeout));
}

// Without the promise a lease may be anywhere: in a queue, behind a pointer, or known by reference.
BOOST_AUTO_TEST_CASE(a_lease_that_another_thread_will_give_back_is_no_deadlock) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  const auto when_waiting = [&](auto give_back) {
    std::jthread other([&pool, give_back = std::move(give_back)]() mutable {
      yield_until_waiting(pool, 1);
      give_back();
    });
    BOOST_TEST(bool(pool.acquire()));
  };
  auto by_reference = pool.acquire();
  when_waiting([&] { by_reference.give_back(); });
  when_waiting([moved = std::make_unique<lease<thing>>(pool.acquire())]() mutable { moved.reset(); });
  when_waiting([shared = std::make_shared<lease<thing>>(pool.acquire())] { shared->give_back(); });
  BOOST_TEST(pool.idle() == 1U);
}
