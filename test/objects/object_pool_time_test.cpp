// Everything an object pool does with time, on a clock moved by hand.
#include <cistern/object_pool.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/coroutine.hpp"
#include "../support/object_pool_support.hpp"

using namespace cistern;
using namespace cistern::test;

namespace {

struct on_manual_clock {
  on_manual_clock() { manual_clock::reset(); }
  tally counts;
  std::atomic<int> failing{0};
  std::unique_ptr<thing_pool> pool;

  thing_pool& make(const object_pool_options& options, std::function<void()> on_create = {}) {
    pool = std::make_unique<thing_pool>(options,
                                        thing_lifecycle{&counts, &failing, nullptr, std::move(on_create)},
                                        nullptr, &manual_clock::now);
    return *pool;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(with_time, on_manual_clock)

BOOST_AUTO_TEST_CASE(idle_objects_leave_after_idle_timeout) {
  make({.max_size = 4, .initial = 2, .idle_timeout = 60s});
  manual_clock::advance(30s);
  pool->acquire().give_back();  // one of them was used
  BOOST_TEST((pool->maintain(manual_clock::now()) == manual_clock::now() + 30s));
  BOOST_TEST(pool->idle() == 2U);
  manual_clock::advance(30s);
  BOOST_TEST((pool->maintain(manual_clock::now()) == manual_clock::now() + 30s));
  BOOST_TEST(pool->idle() == 1U);
  manual_clock::advance(30s);
  BOOST_TEST((pool->maintain(manual_clock::now()) == time_point::max()));
  BOOST_TEST(pool->idle() == 0U);
  BOOST_TEST(pool->statistics().destroyed_for(destroy_reason::idle) == 2U);
  BOOST_TEST(pool->check_invariants());
}

BOOST_AUTO_TEST_CASE(idle_timeout_spares_min_idle) {
  make({.max_size = 4, .min_idle = 2, .initial = 4, .idle_timeout = 60s});
  manual_clock::advance(2h);
  BOOST_TEST((pool->maintain(manual_clock::now()) == time_point::max()));
  BOOST_TEST(pool->idle() == 2U);
  BOOST_TEST(counts.created == 4);
}

BOOST_AUTO_TEST_CASE(min_idle_is_kept_up) {
  make({.max_size = 4, .min_idle = 2});
  BOOST_TEST(pool->idle() == 0U);
  pool->maintain(manual_clock::now());
  BOOST_TEST(pool->idle() == 2U);
  auto a = pool->acquire();
  auto b = pool->acquire();
  auto c = pool->acquire();
  pool->maintain(manual_clock::now());
  BOOST_TEST(pool->idle() == 1U);  // max_size
  BOOST_TEST(pool->check_invariants());
}

BOOST_AUTO_TEST_CASE(objects_do_not_outlive_max_lifetime) {
  make({.max_size = 2, .max_lifetime = 100s, .lifetime_jitter = 0.0});
  auto a = pool->acquire();
  pool->acquire().give_back();
  manual_clock::advance(99s);
  BOOST_TEST((pool->maintain(manual_clock::now()) == manual_clock::now() + 1s));
  BOOST_TEST(pool->idle() == 1U);
  manual_clock::advance(1s);
  BOOST_TEST(pool->acquire()->id == 2);  // the idle one was too old to be given out
  a.give_back();                         // and this one to be kept
  BOOST_TEST(pool->idle() == 1U);
  BOOST_TEST(pool->statistics().destroyed_for(destroy_reason::expired) == 2U);
  manual_clock::advance(100s);
  pool->maintain(manual_clock::now());
  BOOST_TEST(pool->idle() == 0U);
  BOOST_TEST(pool->check_invariants());
}

BOOST_AUTO_TEST_CASE(jitter_spreads_the_ends_of_lives) {
  make({.max_size = 100, .initial = 100, .max_lifetime = 1000s, .lifetime_jitter = 0.25});
  std::set<time_point> ends;
  const time_point start = manual_clock::now();
  std::size_t left = 100;
  while (left > 0) {
    const time_point next = pool->maintain(manual_clock::now());
    BOOST_REQUIRE((next > start + 749s && next <= start + 1000s));
    ends.insert(next);
    manual_clock::ticks = next.time_since_epoch().count();
    pool->maintain(next);
    BOOST_REQUIRE(pool->idle() < left);
    left = pool->idle();
  }
  BOOST_TEST(ends.size() > 90U);
  BOOST_TEST((*ends.begin() < start + 800s && *ends.rbegin() > start + 950s));
}

BOOST_AUTO_TEST_CASE(lifetimes_of_centuries_do_not_overflow) {
  make({.max_size = 2, .idle_timeout = forever - 1ns, .max_lifetime = forever - 1ns});
  pool->acquire().give_back();
  pool->maintain(manual_clock::now());
  BOOST_TEST(pool->idle() == 1U);
}

BOOST_AUTO_TEST_CASE(recently_used_objects_are_not_validated) {
  make({.max_size = 1, .validate_after = 10s});
  pool->acquire().give_back();
  manual_clock::advance(9s);
  pool->acquire().give_back();
  BOOST_TEST(counts.validated == 0);
  manual_clock::advance(10s);
  pool->acquire().give_back();
  BOOST_TEST(counts.validated == 1);
}

BOOST_AUTO_TEST_CASE(validate_after_zero_validates_always) {
  make({.max_size = 1});
  pool->acquire().give_back();
  pool->acquire().give_back();
  pool->acquire().give_back();
  BOOST_TEST(counts.validated == 2);  // not the new one
}

BOOST_AUTO_TEST_CASE(a_deadline_in_the_past_is_a_timeout_that_names_the_holders) {
  make({.max_size = 1});
  auto one = pool->acquire();
  manual_clock::advance(1200ms);
  try {
    auto two = pool->acquire_for(0s);
    BOOST_ERROR("must time out");
  } catch (const pool_error& error) {
    BOOST_TEST((error.code() == pool_errc::timeout));
    const std::string what = error.what();
    BOOST_TEST(what.find("1 of 1 objects in use") != std::string::npos);
    BOOST_TEST(what.find("for 1.200 s since ") != std::string::npos);
    BOOST_TEST(what.find("object_pool_time_test.cpp") != std::string::npos);
    BOOST_REQUIRE(error.holders().size() == 1U);
    BOOST_TEST((error.holders()[0].age == 1200ms));
  }
  BOOST_TEST(pool->statistics().timed_out == 1U);
  one.give_back();
  BOOST_TEST(bool(pool->acquire_until(manual_clock::now() - 1s)));  // an idle object needs no waiting
}

BOOST_AUTO_TEST_CASE(a_timeout_longer_than_time_is_none) {
  make({.max_size = 1});
  auto one = pool->acquire();
  std::jthread other([&] { auto two = pool->acquire_for(std::chrono::hours::max()); });
  yield_until_waiting(*pool, 1);
  one.give_back();
  other.join();
  BOOST_TEST(pool->statistics().timed_out == 0U);
  BOOST_TEST(pool->drain(std::chrono::hours::max()).drained());
}

namespace {

// Looking at an object takes a second; what comes of it.
template <class Policy>
auto slow_to_validate(bool valid, std::atomic<int>& validated, const std::function<void()>& meanwhile = {}) {
  return make_object_pool<Policy>(
      {.max_size = 20, .initial = 20, .acquire_timeout = 1500ms}, [] { return 1; }, no_hook{},
      [&validated, valid, meanwhile](int&) {
        ++validated;
        manual_clock::advance(1s);
        if (meanwhile) {
          meanwhile();
        }
        return valid;
      },
      no_hook{}, nullptr, &manual_clock::now);
}

template <class Policy>
void look_at_the_time() {
  std::atomic<int> validated{0};
  auto dead = slow_to_validate<Policy>(false, validated);
  BOOST_TEST((error_of([&] { return dead.acquire_for(2500ms); }) == pool_errc::timeout));
  BOOST_TEST(validated == 3);
  BOOST_TEST((error_of([&] { return dead.acquire(); }) == pool_errc::timeout));
  BOOST_TEST(validated == 5);
  BOOST_TEST(dead.statistics().total == 15U);
  BOOST_TEST(dead.statistics().in_use == 0U);
  validated = 0;
  std::stop_source source;
  auto stopped = slow_to_validate<Policy>(false, validated, [&] { source.request_stop(); });
  BOOST_TEST(
      (error_of([&] { return stopped.acquire_for(forever, source.get_token()); }) == pool_errc::cancelled));
  BOOST_TEST(validated == 1);
  BOOST_TEST(stopped.check_invariants());
  // Found good, but too late: it stays.
  auto good = slow_to_validate<Policy>(true, validated);
  BOOST_TEST((error_of([&] { return good.acquire_for(500ms); }) == pool_errc::timeout));
  BOOST_TEST(good.idle() == 20U);
  BOOST_TEST(bool(good.acquire_for(1500ms)));
  BOOST_TEST(bool(good.acquire_for(0s)));  // whatever is at hand
}

}  // namespace

BOOST_AUTO_TEST_CASE(deadline_and_stop_token_are_looked_at_after_every_validation) {
  look_at_the_time<shared>();
  look_at_the_time<per_thread>();
}

BOOST_AUTO_TEST_CASE(a_coroutine_s_deadline_is_looked_at_after_every_validation) {
  std::atomic<int> validated{0};
  auto dead = slow_to_validate<shared>(false, validated);
  std::error_code seen;
  const auto coroutine = [&]() -> started {
    try {
      (void)co_await dead.acquire_async_until(manual_clock::now() + 2500ms);
    } catch (const pool_error& error) {
      seen = error.code();
    }
  };
  coroutine();
  BOOST_TEST((seen == pool_errc::timeout));
  BOOST_TEST(validated == 3);
  BOOST_TEST(dead.check_invariants());
}

BOOST_AUTO_TEST_CASE(drain_goes_by_the_pool_s_clock, *boost::unit_test::timeout(60)) {
  const auto run = [](auto a_pool) {
    auto one = a_pool.acquire();
    std::atomic<bool> done{false};
    std::jthread drainer([&] {
      (void)a_pool.drain(1h);
      done = true;
    });
    manual_clock::advance(1h);
    yield_until([&] {
      a_pool.maintain();
      manual_clock::advance(1h);
      return done.load();
    });
  };
  std::atomic<int> validated{0};
  run(slow_to_validate<shared>(true, validated));
  run(slow_to_validate<per_thread>(true, validated));
}

BOOST_AUTO_TEST_CASE(maintain_ends_waits_whose_deadline_has_passed) {
  make({.max_size = 1, .acquire_timeout = 30s});
  auto one = pool->acquire();
  std::error_code seen;
  std::jthread other([&] { seen = error_of([&] { return pool->acquire(); }); });
  yield_until_waiting(*pool, 1);
  BOOST_TEST((pool->maintain(manual_clock::now() + 29s) == manual_clock::now() + 30s));
  BOOST_TEST(pool->statistics().waiting == 1U);
  manual_clock::advance(30s);
  pool->maintain(manual_clock::now());
  other.join();
  BOOST_TEST((seen == pool_errc::timeout));
  const auto s = pool->statistics();
  BOOST_TEST(s.waited == 1U);
  BOOST_TEST((s.wait_time == 30s));
}

BOOST_AUTO_TEST_CASE(an_object_never_goes_to_a_waiter_that_has_expired) {
  make({.max_size = 1});
  auto one = pool->acquire();
  std::error_code first;
  int second = -1;
  std::jthread a([&] { first = error_of([&] { return pool->acquire_for(10s); }); });
  yield_until_waiting(*pool, 1);
  std::jthread b([&] { second = pool->acquire_for(60s)->id; });
  yield_until_waiting(*pool, 2);
  manual_clock::advance(10s);
  pool->maintain(manual_clock::now());
  a.join();
  one.give_back();
  b.join();
  BOOST_TEST((first == pool_errc::timeout));
  BOOST_TEST(second == 0);
  BOOST_TEST(pool->idle() == 1U);
}

BOOST_AUTO_TEST_CASE(a_create_that_outlives_its_deadline_lands_in_the_pool) {
  make({.max_size = 1}, [] { manual_clock::advance(5s); });
  BOOST_TEST((error_of([&] { return pool->acquire_for(3s); }) == pool_errc::timeout));
  BOOST_TEST(pool->idle() == 1U);
  BOOST_TEST(counts.created == 1);
  BOOST_TEST(bool(pool->acquire_for(3s)));
  BOOST_TEST(pool->check_invariants());
}

BOOST_AUTO_TEST_CASE(a_create_that_outlives_its_stop_token_lands_in_the_pool) {
  std::stop_source source;
  make({.max_size = 1}, [&] { source.request_stop(); });
  BOOST_TEST((error_of([&] { return pool->acquire_for(3s, source.get_token()); }) == pool_errc::cancelled));
  BOOST_TEST(pool->idle() == 1U);
  BOOST_TEST((error_of([&] { return pool->acquire_for(3s, source.get_token()); }) == pool_errc::cancelled));
}

BOOST_AUTO_TEST_CASE(an_object_created_while_the_pool_closes_is_destroyed) {
  make({.max_size = 1}, [&] { pool->close(); });
  BOOST_TEST((error_of([&] { return pool->acquire(); }) == pool_errc::closed));
  BOOST_TEST(counts.created == 1);
  BOOST_TEST(counts.alive == 0);
}

BOOST_AUTO_TEST_CASE(a_failing_factory_is_retried_with_growing_pauses) {
  make({.max_size = 1, .min_idle = 1, .backoff_max = 35ms});
  failing = 5;
  const std::vector<duration> pauses{10ms, 20ms, 35ms, 35ms};
  for (const duration pause : pauses) {
    const time_point next = pool->maintain(manual_clock::now());
    BOOST_TEST((next == manual_clock::now() + pause));
    manual_clock::advance(pause - 1ns);
    BOOST_TEST((pool->maintain(manual_clock::now()) == next));  // too early: not asked
    manual_clock::advance(1ns);
  }
  BOOST_TEST(pool->statistics().factory_failures == 4U);
  BOOST_TEST((pool->maintain(manual_clock::now()) == manual_clock::now() + 35ms));
  manual_clock::advance(35ms);
  BOOST_TEST((pool->maintain(manual_clock::now()) == time_point::max()));
  BOOST_TEST(pool->idle() == 1U);
  // It has worked: the next time the pauses begin anew.
  pool->acquire().discard();
  failing = 1;
  BOOST_TEST((pool->maintain(manual_clock::now()) == manual_clock::now() + 10ms));
}

BOOST_AUTO_TEST_CASE(a_failed_create_wakes_the_next_waiter) {
  make({.max_size = 1});
  auto one = pool->acquire();
  std::error_code first;
  int second = -1;
  std::jthread a([&] { first = error_of([&] { return pool->acquire_for(1h); }); });
  yield_until_waiting(*pool, 1);
  std::jthread b([&] { second = pool->acquire_for(1h)->id; });
  yield_until_waiting(*pool, 2);
  failing = 1;
  one.discard();  // the first waiter is to create, and fails; the second one follows after the pause
  a.join();
  BOOST_TEST((first == pool_errc::factory_failed));
  BOOST_TEST(pool->statistics().waiting == 1U);
  manual_clock::advance(10ms);
  pool->maintain(manual_clock::now());
  b.join();
  BOOST_TEST(second == 1);
  BOOST_TEST(pool->check_invariants());
}

BOOST_AUTO_TEST_CASE(a_timeout_behind_a_failing_factory_carries_the_cause) {
  make({.max_size = 1, .backoff_max = 1h});
  failing = 1000;
  BOOST_TEST((error_of([&] { return pool->acquire_for(1s); }) == pool_errc::factory_failed));
  std::exception_ptr cause;
  std::jthread a([&] {
    try {
      (void)pool->acquire_for(5ms);
    } catch (const pool_error& error) {
      cause = error.cause();
    }
  });
  yield_until_waiting(*pool, 1);
  manual_clock::advance(5ms);
  pool->maintain(manual_clock::now());
  a.join();
  BOOST_TEST(bool(cause));
}

BOOST_AUTO_TEST_CASE(adopt_serves_one_who_waits_for_a_failing_factory) {
  const auto clock = &manual_clock::now;
  auto numbers = make_object_pool(
      {.max_size = 1, .backoff_max = 1h}, []() -> int { throw std::runtime_error("no numbers"); }, no_hook{},
      no_hook{}, no_hook{}, nullptr, clock);
  BOOST_TEST((error_of([&] { return numbers.acquire(); }) == pool_errc::factory_failed));
  int value = 0;
  std::jthread other([&] { value = *numbers.acquire(); });
  yield_until_waiting(numbers, 1);
  BOOST_TEST(numbers.adopt(2));
  other.join();
  BOOST_TEST(value == 2);
}

BOOST_AUTO_TEST_SUITE_END()
