// Faults of the pools that object_pool replaces, each by name: here they don't happen.
#include <cistern/object_pool.hpp>

#include <atomic>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/object_pool_support.hpp"

using namespace cistern;
using namespace cistern::test;

namespace {

// What std::invalid_argument says about `options`.
std::string complaint(const object_pool_options& options) {
  tally counts;
  try {
    thing_pool pool(options, {&counts});
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

// ---- gopool: factory, reset, close, size ----

BOOST_AUTO_TEST_CASE(gopool_get_after_close_hangs) {
  tally counts;
  thing_pool pool({.max_size = 1, .initial = 1, .order = reuse_order::fifo}, {&counts});
  auto held = pool.acquire();
  std::vector<std::error_code> ends(3);
  {
    std::vector<std::jthread> waiters;
    for (auto& end : ends) {
      waiters.emplace_back([&] { end = error_of([&] { return pool.acquire(); }); });
    }
    yield_until_waiting(pool, 3);
    pool.close();
  }
  for (const auto& end : ends) {
    BOOST_TEST(end == pool_errc::closed);
  }
  BOOST_TEST(error_of([&] { return pool.acquire(); }) == pool_errc::closed);
  BOOST_TEST(error_of([&] { return pool.acquire_for(forever); }) == pool_errc::closed);
  BOOST_TEST(!pool.try_acquire());
}

BOOST_AUTO_TEST_CASE(gopool_array_pool_closes_objects_in_use_and_then_again) {
  tally counts;
  thing_pool pool({.max_size = 4, .initial = 4, .order = reuse_order::fifo}, {&counts});
  auto held = pool.acquire();
  pool.close();
  BOOST_TEST(counts.destroyed == 3);
  BOOST_TEST(!held->closed);
  held.give_back();
  pool.close();
  BOOST_TEST(counts.destroyed == 4);
  BOOST_TEST(counts.twice_closed == 0);
}

BOOST_AUTO_TEST_CASE(gopool_putting_a_foreign_object_blocks) {
  int closed = 0;
  auto pool = make_object_pool(
      {.max_size = 1, .initial = 1}, [] { return std::string("own"); }, no_hook{}, no_hook{},
      [&](std::string&&) { ++closed; });
  std::string foreign = "foreign";
  BOOST_TEST(!pool.adopt(std::move(foreign)));  // full: refused at once
  BOOST_TEST(foreign == "foreign");
  BOOST_TEST(closed == 0);
  pool.acquire().discard();
  BOOST_TEST(pool.adopt(std::move(foreign)));
  BOOST_TEST(*pool.acquire() == "foreign");
}

BOOST_AUTO_TEST_CASE(gopool_a_panic_in_reset_leaves_the_mutex_locked) {
  tally counts;
  std::atomic<bool> failing{true};
  thing_pool pool({.max_size = 1, .order = reuse_order::fifo}, {&counts, nullptr, &failing});
  pool.acquire().give_back();  // reset throws
  BOOST_TEST(counts.destroyed == 1);
  failing = false;
  BOOST_TEST(pool.acquire()->id == 1);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::unclean) == 1U);
}

BOOST_AUTO_TEST_CASE(gopool_a_factory_that_fails_midway_leaks_what_it_made) {
  tally counts;
  thing_lifecycle third_fails{&counts};
  third_fails.on_create = [&] {
    if (counts.created == 2) {
      throw std::runtime_error("third");
    }
  };
  try {
    thing_pool pool({.max_size = 4, .initial = 4}, third_fails);
    BOOST_ERROR("constructed");
  } catch (const pool_error& error) {
    BOOST_TEST(error.code() == pool_errc::factory_failed);
    BOOST_CHECK_THROW(std::rethrow_exception(error.cause()), std::runtime_error);
  }
  BOOST_TEST(counts.created == 2);
  BOOST_TEST(counts.destroyed == 2);
  BOOST_TEST(counts.alive == 0);
}

BOOST_AUTO_TEST_CASE(gopool_no_size_and_no_factory_are_errors_at_construction) {
  BOOST_TEST(contains(complaint({.max_size = 0}), "max_size"));
  BOOST_CHECK_THROW((void)make_object_pool({}, std::function<int()>{}), std::invalid_argument);
}

// ---- maxatome/pool, fatih/pool: initialCap, maxCap, factory ----

BOOST_AUTO_TEST_CASE(fatih_capacity_errors_do_not_name_the_capacities) {
  const std::string what = complaint({.max_size = no_limit, .max_idle = 3, .initial = 7});
  BOOST_TEST(contains(what, "initial (7)"));
  BOOST_TEST(contains(what, "max_idle (3)"));
}

BOOST_AUTO_TEST_CASE(fatih_close_twice_inserts_the_object_twice) {
  static_assert(!std::is_copy_constructible_v<lease<thing>>);
  static_assert(!std::is_copy_assignable_v<lease<thing>>);
  tally counts;
  thing_pool pool({.max_size = no_limit, .max_idle = 5, .empty = when_empty::create}, {&counts});
  auto one = pool.acquire();
  one.give_back();
  one.give_back();
  BOOST_TEST(pool.idle() == 1U);
  auto first = pool.acquire();
  auto second = pool.acquire();
  BOOST_TEST(first.get() != second.get());
}

BOOST_AUTO_TEST_CASE(fatih_an_unusable_object_is_closed_twice) {
  tally counts;
  thing_pool pool({.max_size = no_limit, .max_idle = 5, .empty = when_empty::create}, {&counts});
  auto one = pool.acquire();
  one.discard();
  one.give_back();
  pool.close();
  BOOST_TEST(counts.destroyed == 1);
  BOOST_TEST(counts.twice_closed == 0);
  BOOST_TEST(pool.idle() == 0U);
}

BOOST_AUTO_TEST_CASE(fatih_an_object_put_into_a_full_or_closed_pool_is_closed) {
  tally counts;
  thing_pool pool({.max_size = no_limit, .max_idle = 1, .initial = 1, .empty = when_empty::create},
                  {&counts});
  auto one = pool.acquire();
  auto two = pool.acquire();  // never blocks
  auto three = pool.acquire();
  one.give_back();
  two.give_back();  // full
  BOOST_TEST(counts.destroyed == 1);
  BOOST_TEST(pool.idle() == 1U);
  pool.close();
  three.give_back();  // closed
  BOOST_TEST(counts.destroyed == 3);
  BOOST_TEST(counts.twice_closed == 0);
}

// ---- sync.Pool: New, Get, Put ----

BOOST_AUTO_TEST_CASE(sync_pool_takes_back_what_it_did_not_give) {
  // Put(x) of anything, any number of times: two users of one object. A lease goes back once, to its own
  // pool.
  tally counts;
  object_pool<thing, thing_lifecycle, per_thread> pool({}, {&counts});
  auto one = pool.acquire();
  one.give_back();
  one.give_back();
  auto first = pool.acquire();
  auto second = pool.acquire();
  BOOST_TEST(first.get() != second.get());
}

BOOST_AUTO_TEST_CASE(sync_pool_never_says_how_much_it_keeps_and_forgets_without_closing) {
  tally counts;
  {
    object_pool<thing, thing_lifecycle, per_thread> pool({.initial = 3}, {&counts});
    BOOST_TEST(pool.idle() == 3U);
    pool.trim();
    pool.trim();
    BOOST_TEST(counts.destroyed == 3);  // each through the lifecycle
    pool.warm(2);
  }
  BOOST_TEST(counts.destroyed == 5);
  BOOST_TEST(counts.alive == 0);
}

// ---- pools that call their users under a lock ----

// create, reset, validate, destroy and predicates ask the pool something that takes its mutex: under it, that
// would be a deadlock.
BOOST_AUTO_TEST_CASE(user_code_runs_outside_every_lock) {
  struct curious {
    std::function<void()>* ask;
    int create() { return (*ask)(), 0; }
    void reset(int&) { (*ask)(); }
    bool validate(int& one) { return (*ask)(), one == 0; }
    void destroy(int&&) noexcept { (*ask)(); }
    std::size_t retained_bytes(const int&) noexcept { return (*ask)(), 0; }
  };
  const auto try_all = [](auto policy, const object_pool_options& options) {
    using pool_type = object_pool<int, curious, decltype(policy)>;
    std::optional<pool_type> pool;
    int calls = 0;
    std::function<void()> ask = [&] {
      ++calls;
      if (pool) {
        (void)pool->statistics();
        (void)pool->idle();
      }
    };
    pool.emplace(options, curious{&ask});
    pool->acquire().give_back();
    pool->acquire().discard();
    *pool->acquire() = 1;  // found invalid next time
    pool->acquire().give_back();
    pool->warm(3);
    pool->evict_if([&](int) { return ask(), true; });
    pool->warm(3);
    pool->resize(2);
    pool->invalidate_all();
    pool->maintain();
    pool->trim();
    auto held = pool->acquire();
    pool->close();
    held.give_back();
    BOOST_TEST(calls > 15);
    BOOST_TEST(pool->check_invariants());
  };
  try_all(shared{}, {.max_size = 4, .min_idle = 1});
  try_all(shared{}, {.max_size = 4, .max_idle = 3, .order = reuse_order::fifo});
  try_all(per_thread{}, {.min_idle = 1});
}

// ---- what a pool must not forget: HikariCP, commons-pool, deadpool, puddle ----

BOOST_AUTO_TEST_CASE(a_timeout_names_count_ages_and_places) {
  manual_clock::reset();
  tally counts;
  thing_pool pool({.max_size = 2}, {&counts}, nullptr, &manual_clock::now);
  const auto first = pool.acquire();
  const auto line = __LINE__ - 1;
  manual_clock::advance(3s);
  const auto second = pool.acquire();
  manual_clock::advance(1s);
  try {
    (void)pool.acquire_for(0s);
    BOOST_ERROR("acquired");
  } catch (const pool_error& error) {
    BOOST_TEST(error.code() == pool_errc::timeout);
    BOOST_TEST(contains(error.what(), "2 of 2 objects in use"));
    BOOST_TEST(
        contains(error.what(), "for 4.000 s since " + std::string(__FILE__) + ":" + std::to_string(line)));
    BOOST_REQUIRE(error.holders().size() == 2U);
    BOOST_TEST((error.holders()[0].age == 4s));
    BOOST_TEST((error.holders()[1].age == 1s));
    BOOST_TEST(error.holders()[0].acquired_at.line() == static_cast<unsigned>(line));
  }
}
