// Waiting for objects in coroutines: the same queue, the same errors, no thread blocked.
#include <cistern/async_acquire.hpp>

#include <array>
#include <atomic>
#include <coroutine>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/coroutine.hpp"
#include "../support/object_pool_support.hpp"
#include <sys/wait.h>
#include <unistd.h>

using namespace cistern;
using namespace cistern::test;

namespace {

// Awaits what `acquire` returns, and keeps the object in `slot`; or notes the error.
template <class Acquire>
started take(Acquire acquire, lease<thing>& slot, std::error_code& error) {
  try {
    slot = co_await acquire();
  } catch (const pool_error& e) {
    error = e.code();
  }
}

struct one_pool {
  tally counts;
  thing_pool pool{{.max_size = 1}, {&counts}};
  lease<thing> got;
  std::error_code error;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(with_one, one_pool)

BOOST_AUTO_TEST_CASE(an_idle_or_new_object_needs_no_suspension) {
  take([&] { return pool.acquire_async(); }, got, error);
  BOOST_REQUIRE(bool(got));
  got.give_back();
  take([&] { return pool.acquire_async(); }, got, error);
  BOOST_TEST(got->id == 0);
  BOOST_TEST(got.uses() == 2U);
  BOOST_TEST(pool.statistics().waited == 0U);
}

BOOST_AUTO_TEST_CASE(a_coroutine_goes_on_when_an_object_comes_back) {
  auto mine = pool.acquire();
  take([&] { return pool.acquire_async(); }, got, error);
  BOOST_TEST(!got);
  BOOST_TEST(pool.statistics().waiting == 1U);
  mine.give_back();
  BOOST_TEST(bool(got));
  BOOST_TEST(pool.check_invariants());
}

BOOST_AUTO_TEST_CASE(an_executor_decides_where_it_goes_on) {
  run_queue queue;
  auto mine = pool.acquire();
  take([&] { return pool.acquire_async(queue.executor()); }, got, error);
  mine.give_back();
  BOOST_TEST(!got);
  BOOST_TEST(!pool.try_acquire().has_value());  // already handed over
  BOOST_TEST(queue.run_one());
  BOOST_TEST(bool(got));
  BOOST_TEST(!queue.run_one());
}

BOOST_AUTO_TEST_CASE(threads_and_coroutines_stand_in_one_queue) {
  auto mine = pool.acquire();
  std::vector<std::string> order;
  const auto coroutine = [&](const char* name) -> started {
    auto one = co_await pool.acquire_async();
    order.emplace_back(name);
  };
  coroutine("first");
  std::jthread second([&] {
    auto one = pool.acquire();
    order.emplace_back("second");
  });
  yield_until_waiting(pool, 2);
  coroutine("third");
  mine.give_back();
  second.join();
  BOOST_TEST(order == (std::vector<std::string>{"first", "second", "third"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(close_ends_the_wait) {
  auto mine = pool.acquire();
  take([&] { return pool.acquire_async(); }, got, error);
  pool.close();
  BOOST_TEST((error == pool_errc::closed));
  error = {};
  take([&] { return pool.acquire_async(); }, got, error);
  BOOST_TEST((error == pool_errc::closed));
}

BOOST_AUTO_TEST_CASE(a_stop_token_ends_the_wait) {
  std::stop_source source;
  auto mine = pool.acquire();
  take([&] { return pool.acquire_async_until(time_point::max(), source.get_token()); }, got, error);
  BOOST_TEST(pool.statistics().waiting == 1U);
  source.request_stop();
  BOOST_TEST((error == pool_errc::cancelled));
  BOOST_TEST(pool.statistics().waiting == 0U);
  error = {};
  take([&] { return pool.acquire_async_until(time_point::max(), source.get_token()); }, got, error);
  BOOST_TEST((error == pool_errc::cancelled));
  mine.give_back();
  BOOST_TEST(pool.idle() == 1U);
}

BOOST_AUTO_TEST_CASE(a_dead_object_is_replaced) {
  pool.acquire()->broken = true;
  take([&] { return pool.acquire_async(); }, got, error);
  BOOST_TEST(got->id == 1);
  got->broken = true;
  lease<thing> second;
  take([&] { return pool.acquire_async(); }, second, error);
  got.give_back();  // handed over broken
  BOOST_TEST(second->id == 2);
  BOOST_TEST(pool.check_invariants());
}

BOOST_AUTO_TEST_CASE(a_discarded_object_lets_the_coroutine_create) {
  run_queue queue;
  auto mine = pool.acquire();
  take([&] { return pool.acquire_async(queue.executor()); }, got, error);
  mine.discard();
  BOOST_TEST(counts.created == 1);  // not on the thread that discarded
  queue.run_one();
  BOOST_TEST(counts.created == 2);
  BOOST_TEST(got->id == 1);
}

BOOST_AUTO_TEST_CASE(a_coroutine_destroyed_while_it_waits_leaves_the_queue) {
  auto mine = pool.acquire();
  const started first = take([&] { return pool.acquire_async(); }, got, error);
  lease<thing> second;
  take([&] { return pool.acquire_async(); }, second, error);
  first.handle.destroy();
  BOOST_TEST(pool.statistics().waiting == 1U);
  mine.give_back();
  BOOST_TEST(!got);
  BOOST_TEST(bool(second));
}

BOOST_AUTO_TEST_CASE(a_coroutine_destroyed_before_it_is_resumed_gives_the_object_back) {
  run_queue queue;
  for (const bool discard : {false, true}) {
    auto mine = pool.acquire();
    const started first = take([&] { return pool.acquire_async(queue.executor()); }, got, error);
    if (discard) {
      mine.discard();
    } else {
      mine.give_back();
    }
    first.handle.destroy();
    BOOST_TEST(pool.statistics().in_use == 0U);
    BOOST_TEST(pool.statistics().creating == 0U);
    BOOST_TEST(pool.check_invariants());
  }
}

// Both waits end in one call: the coroutine resumed first destroys the one that would be next.
BOOST_AUTO_TEST_CASE(a_coroutine_may_destroy_another_whose_wait_is_over) {
  auto mine = pool.acquire();
  std::coroutine_handle<> victim;
  int served = 0;
  const auto first = [&]() -> started {
    try {
      (void)co_await pool.acquire_async();
    } catch (const pool_error&) {
      victim.destroy();
    }
  };
  first();
  const auto count = [&](std::coroutine_handle<>) { ++served; };
  victim = take([&] { return pool.acquire_async(count); }, got, error).handle;
  pool.close();
  BOOST_TEST(served == 0);
  BOOST_TEST(!error);
  BOOST_TEST(pool.check_invariants());
}

BOOST_AUTO_TEST_CASE(a_coroutine_may_be_destroyed_while_another_thread_ends_its_wait) {
  std::atomic<bool> resuming{false};
  std::atomic<bool> destroyed{false};
  std::atomic<int> served{0};
  auto mine = pool.acquire();
  lease<thing> other;
  std::error_code other_error;
  take(
      [&] {
        return pool.acquire_async([&](std::coroutine_handle<> coroutine) {
          resuming = true;
          yield_until([&] { return destroyed.load(); });
          coroutine.resume();
        });
      },
      other, other_error);
  const auto count = [&](std::coroutine_handle<>) { ++served; };
  const auto victim = take([&] { return pool.acquire_async(count); }, got, error).handle;
  std::jthread closer([&] { pool.close(); });
  yield_until([&] { return resuming.load(); });
  victim.destroy();  // its wait is over, but its executor was not called
  destroyed = true;
  closer.join();
  BOOST_TEST(served == 0);
  BOOST_TEST((other_error == pool_errc::closed));
}

BOOST_AUTO_TEST_CASE(who_destroys_a_coroutine_waits_until_its_executor_is_done) {
  std::atomic<bool> called{false};
  std::atomic<bool> destroyed{false};
  std::atomic<bool> too_early{false};
  auto mine = pool.acquire();
  const auto victim = take(
                          [&] {
                            return pool.acquire_async([&](std::coroutine_handle<>) {
                              called = true;
                              for (int i = 0; i < 1000 && !destroyed; ++i) {
                                std::this_thread::yield();
                              }
                              too_early = destroyed.load();
                            });
                          },
                          got, error)
                          .handle;
  std::jthread giver([&] { mine.give_back(); });
  yield_until([&] { return called.load(); });
  victim.destroy();
  destroyed = true;
  giver.join();
  BOOST_TEST(!too_early);
  BOOST_TEST(pool.idle() == 1U);
  BOOST_TEST(pool.check_invariants());
}

BOOST_AUTO_TEST_CASE(an_executor_may_destroy_the_coroutine) {
  auto mine = pool.acquire();
  take([&] { return pool.acquire_async([](std::coroutine_handle<> coroutine) { coroutine.destroy(); }); },
       got, error);
  mine.give_back();
  BOOST_TEST(!got);
  BOOST_TEST(pool.idle() == 1U);
  BOOST_TEST(pool.check_invariants());
}

// A coroutine that blocks while it is resumed doesn't keep those behind it waiting.
BOOST_AUTO_TEST_CASE(a_coroutine_that_blocks_resumes_the_others_first) {
  auto mine = pool.acquire();
  lease<thing> kept;
  const auto blocks = [&]() -> started {
    auto one = co_await pool.acquire_async();
    pool.resize(2);  // serves the next in the queue, for this thread to resume
    (void)pool.acquire();
  };
  blocks();
  const auto gives_back = [&]() -> started { auto one = co_await pool.acquire_async(); };
  gives_back();
  mine.give_back();
  BOOST_TEST(pool.idle() == 2U);
  BOOST_TEST(pool.check_invariants());
}

// In the child its thread waits on, and gets what the coroutine gives back.
BOOST_AUTO_TEST_CASE(a_coroutine_may_fork_while_its_thread_waits) {
  auto mine = pool.acquire();
  const auto waits = [&]() -> started {
    auto one = co_await pool.acquire_async();
    pool.resize(2);
    (void)pool.acquire();
  };
  waits();
  pid_t child = -1;
  const auto forks = [&]() -> started {
    auto one = co_await pool.acquire_async();
    child = ::fork();
    if (child == 0) ::alarm(60);  // it would hang
  };
  forks();
  mine.give_back();
  const bool is_whole = pool.idle() == 2 && pool.statistics().waiting == 0 && pool.check_invariants();
  if (child == 0) ::_exit(is_whole ? 0 : 1);
  BOOST_TEST(is_whole);
  int status = -1;
  BOOST_TEST(::waitpid(child, &status, 0) == child);
  BOOST_TEST(status == 0);
}

BOOST_AUTO_TEST_SUITE_END()

// Each gives back to the other pool's queue: nested, that would be a hundred thousand calls deep.
BOOST_AUTO_TEST_CASE(coroutines_of_two_pools_do_not_grow_the_stack) {
  tally counts;
  thing_pool even({.max_size = 1}, {&counts});
  thing_pool odd({.max_size = 1}, {&counts});
  std::array held{even.acquire(), odd.acquire()};
  std::size_t served = 0;
  const auto waiting = [&](std::size_t i) -> started {
    held[i % 2] = co_await (i % 2 == 0 ? even : odd).acquire_async();
    ++served;
    held[(i + 1) % 2].give_back();
  };
  for (std::size_t i = 0; i < 100'000; ++i) {
    waiting(i);
  }
  held[0].give_back();
  BOOST_TEST(served == 100'000U);
  BOOST_TEST(even.check_invariants());
  BOOST_TEST(odd.check_invariants());
}

BOOST_AUTO_TEST_CASE(max_waiters_and_when_empty_hold_for_coroutines) {
  tally counts;
  thing_pool strict({.max_size = 1, .empty = when_empty::fail}, {&counts});
  thing_pool narrow({.max_size = 1, .max_waiters = 0}, {&counts});
  for (auto* pool : {&strict, &narrow}) {
    auto mine = pool->acquire();
    lease<thing> got;
    std::error_code error;
    take([&] { return pool->acquire_async(); }, got, error);
    BOOST_TEST((error == pool_errc::exhausted));
  }
}

BOOST_AUTO_TEST_CASE(maintain_notices_a_coroutine_s_deadline) {
  manual_clock::reset();
  tally counts;
  thing_pool pool({.max_size = 1, .acquire_timeout = 5s}, {&counts}, nullptr, &manual_clock::now);
  auto mine = pool.acquire();
  lease<thing> got;
  std::error_code error;
  take([&] { return pool.acquire_async(); }, got, error);
  BOOST_TEST((pool.maintain(manual_clock::now()) == manual_clock::now() + 5s));
  manual_clock::advance(5s);
  BOOST_TEST(!error);
  pool.maintain(manual_clock::now());
  BOOST_TEST((error == pool_errc::timeout));
}

BOOST_AUTO_TEST_CASE(a_failing_factory_is_retried_for_coroutines) {
  manual_clock::reset();
  tally counts;
  std::atomic<int> failing{1};
  thing_pool pool({.max_size = 1}, {&counts, &failing}, nullptr, &manual_clock::now);
  lease<thing> first;
  lease<thing> second;
  std::error_code first_error;
  std::error_code second_error;
  take([&] { return pool.acquire_async(); }, first, first_error);
  BOOST_TEST((first_error == pool_errc::factory_failed));
  take([&] { return pool.acquire_async(); }, second, second_error);
  BOOST_TEST(!second);
  BOOST_TEST((pool.maintain(manual_clock::now()) == manual_clock::now() + 10ms));
  manual_clock::advance(10ms);
  pool.maintain(manual_clock::now());
  BOOST_TEST(bool(second));
}

BOOST_AUTO_TEST_CASE(a_pool_may_be_destroyed_while_coroutines_wait) {
  tally counts;
  run_queue queue;
  std::optional<thing_pool> pool(std::in_place, object_pool_options{.max_size = 1}, thing_lifecycle{&counts});
  auto mine = pool->acquire();
  lease<thing> got;
  std::error_code error;
  take([&] { return pool->acquire_async(queue.executor()); }, got, error);
  pool.reset();
  mine.give_back();
  queue.run_one();
  BOOST_TEST((error == pool_errc::closed));
  BOOST_TEST(counts.alive == 0);
}

// Each coroutine passes the object on to the next inside its own give_back: nested, that would be a hundred
// thousand calls deep.
BOOST_AUTO_TEST_CASE(a_long_queue_does_not_grow_the_stack) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto mine = pool.acquire();
  int served = 0;
  const auto waiting = [&]() -> started {
    auto one = co_await pool.acquire_async();
    ++served;
  };
  for (int i = 0; i < 100'000; ++i) {
    waiting();
  }
  BOOST_TEST(pool.statistics().waiting == 100'000U);
  mine.give_back();
  BOOST_TEST(served == 100'000);
  BOOST_TEST(pool.check_invariants());
}

BOOST_AUTO_TEST_CASE(many_coroutines_on_many_threads) {
  tally counts;
  thing_pool pool({.max_size = 3}, {&counts});
  constexpr int coroutines = 200;
  constexpr int rounds = 50;
  std::atomic<int> finished{0};
  std::atomic<int> shared_objects{0};
  std::atomic<int> cancelled{0};
  run_queue queue;
  const auto worker = [&](unsigned seed) -> started {
    std::minstd_rand random(seed);
    for (int i = 0; i < rounds; ++i) {
      std::stop_source source;
      try {
        if (random() % 8 == 0) {
          source.request_stop();
        }
        auto one = co_await pool.acquire_async_until(time_point::max(), source.get_token(), queue.executor());
        if (one->in_hands.exchange(true)) {
          ++shared_objects;
        }
        one->in_hands = false;
        if (random() % 16 == 0) {
          one.discard();
        }
      } catch (const pool_error&) {
        ++cancelled;
      }
    }
    ++finished;
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (unsigned i = 0; i < coroutines / 4; ++i) {
          worker(t * 1000 + i + 1);
        }
        while (finished < coroutines) {
          if (!queue.run_one()) {
            std::this_thread::yield();
          }
        }
      });
    }
    threads.emplace_back([&] {  // and a thread that blocks
      while (finished < coroutines) {
        auto one = pool.acquire();
      }
    });
  }
  BOOST_TEST(shared_objects == 0);
  BOOST_TEST(cancelled > 0);
  const auto s = pool.statistics();
  BOOST_TEST(s.in_use == 0U);
  BOOST_TEST(s.waiting == 0U);
  BOOST_TEST(counts.alive == static_cast<int>(s.idle));
  BOOST_TEST(pool.check_invariants());
}
