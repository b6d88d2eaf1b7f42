// The object pool used by one thread: giving out, taking back, limits, failures, and the books.
#include <cistern/object_pool.hpp>

#include <array>
#include <functional>
#include <memory>
#include <memory_resource>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/object_pool_support.hpp"

using namespace cistern;
using namespace cistern::test;

namespace {

// made - destroyed == idle + in use + creating, and whatever else the pool can check of itself.
template <class Pool>
void check_books(const Pool& pool) {
  const auto s = pool.statistics();
  BOOST_TEST(s.created + s.adopted + s.creating - s.destroyed_total() == s.idle + s.in_use + s.creating);
  BOOST_TEST(s.total == s.idle + s.in_use + s.creating);
  BOOST_TEST(pool.check_invariants());
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(no std::invalid_argument)";
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_object_comes_back_to_be_used_again) {
  tally counts;
  thing_pool pool({.max_size = 2}, {&counts});
  int first = 0;
  {
    auto one = pool.acquire();
    first = one->id;
    one->value = 7;
    BOOST_TEST(one.uses() == 1U);
    BOOST_TEST(pool.idle() == 0U);
  }
  BOOST_TEST(pool.idle() == 1U);
  auto again = pool.acquire();
  BOOST_TEST(again->id == first);
  BOOST_TEST(again->value == 0);  // reset on return
  BOOST_TEST(again.uses() == 2U);
  BOOST_TEST(counts.created == 1);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(lambdas_make_a_pool) {
  int made = 0;
  int cleaned = 0;
  int ended = 0;
  {
    auto pool = make_object_pool(
        {.max_size = 1}, [&] { return std::string("object ") + std::to_string(made++); },
        [&](std::string& s) { s.clear(), ++cleaned; }, no_hook{}, [&](std::string&&) { ++ended; });
    static_assert(std::is_same_v<decltype(pool)::value_type, std::string>);
    auto one = pool.acquire();
    BOOST_TEST(*one == "object 0");
    one.give_back();
    BOOST_TEST(!one);
    BOOST_TEST(pool.acquire()->empty());
  }
  BOOST_TEST(made == 1);
  BOOST_TEST(cleaned == 2);
  BOOST_TEST(ended == 1);
}

BOOST_AUTO_TEST_CASE(lifo_gives_the_last_and_fifo_the_first) {
  for (const auto order : {reuse_order::lifo, reuse_order::fifo}) {
    tally counts;
    thing_pool pool({.max_size = 3, .order = order}, {&counts});
    {
      auto a = pool.acquire();
      auto b = pool.acquire();
      auto c = pool.acquire();
      a.give_back();
      b.give_back();
      c.give_back();
    }
    std::vector<int> seen;
    auto x = pool.acquire();
    auto y = pool.acquire();
    auto z = pool.acquire();
    const std::vector<int> got{x->id, y->id, z->id};
    const std::vector<int> expected =
        order == reuse_order::lifo ? std::vector{2, 1, 0} : std::vector{0, 1, 2};
    BOOST_TEST(got == expected, boost::test_tools::per_element());
    check_books(pool);
  }
}

BOOST_AUTO_TEST_CASE(maintenance_keeps_the_order) {
  for (const auto order : {reuse_order::lifo, reuse_order::fifo}) {
    tally counts;
    manual_clock::reset();
    thing_pool pool({.max_size = 4, .initial = 4, .order = order, .max_lifetime = 1h}, {&counts}, nullptr,
                    &manual_clock::now);
    const auto ids = [&] {
      std::vector<lease<thing>> held;
      std::vector<int> result;
      while (auto one = pool.try_acquire()) {
        result.push_back((*one)->id);
        held.push_back(std::move(*one));
      }
      // Give back so that the next round sees the same order.
      if (order == reuse_order::lifo) {
        while (!held.empty()) {
          held.pop_back();
        }
      } else {
        for (auto& one : held) {
          one.give_back();
        }
      }
      return result;
    };
    const auto before = ids();
    pool.maintain(manual_clock::now());
    BOOST_TEST(ids() == before, boost::test_tools::per_element());
    BOOST_TEST(pool.evict_if([](const thing&) { return false; }) == 0U);
    BOOST_TEST(ids() == before, boost::test_tools::per_element());
    pool.resize(9);
    pool.resize(4);
    BOOST_TEST(ids() == before, boost::test_tools::per_element());
    BOOST_TEST(pool.evict_if([](const thing& one) { return one.id % 2 == 1; }) == 2U);
    BOOST_TEST(counts.destroyed == 2);
    check_books(pool);
  }
}

// gopool: New(factory, reset, close, size) creates all objects at once.
BOOST_AUTO_TEST_CASE(initial_objects_are_created_eagerly) {
  tally counts;
  {
    thing_pool pool({.max_size = 5, .initial = 5}, {&counts});
    BOOST_TEST(counts.created == 5);
    BOOST_TEST(pool.idle() == 5U);
  }
  BOOST_TEST(counts.destroyed == 5);
  BOOST_TEST(counts.alive == 0);
}

BOOST_AUTO_TEST_CASE(options_out_of_range_are_named_with_their_values) {
  tally counts;
  const auto making = [&](const object_pool_options& options) {
    return message_of([&] { thing_pool pool(options, {&counts}); });
  };
  BOOST_TEST(making({.max_size = 0}) == "object_pool_options: max_size (0) must be at least 1");
  BOOST_TEST(making({.max_size = 5, .initial = 30}) ==
             "object_pool_options: initial (30) exceeds max_size (5)");
  BOOST_TEST(making({.max_size = no_limit, .max_idle = 10, .initial = 30}) ==
             "object_pool_options: initial (30) exceeds max_idle (10)");
  BOOST_TEST(making({.min_idle = 11}) == "object_pool_options: min_idle (11) exceeds max_size (10)");
  BOOST_TEST(making({.max_idle = 3, .min_idle = 4}) ==
             "object_pool_options: min_idle (4) exceeds max_idle (3)");
  BOOST_TEST(making({.max_size = no_limit - 1}).find("max_size (18446744073709551614) exceeds") !=
             std::string::npos);
  BOOST_TEST(making({.acquire_timeout = -1ns}) == "object_pool_options: acquire_timeout (-1 ns) is negative");
  BOOST_TEST(making({.idle_timeout = -2ns}) == "object_pool_options: idle_timeout (-2 ns) is negative");
  BOOST_TEST(making({.max_lifetime = -3ns}) == "object_pool_options: max_lifetime (-3 ns) is negative");
  BOOST_TEST(making({.validate_after = -4ns}) == "object_pool_options: validate_after (-4 ns) is negative");
  BOOST_TEST(making({.backoff_max = -5ns}) == "object_pool_options: backoff_max (-5 ns) is negative");
  BOOST_TEST(making({.lifetime_jitter = 1.5}) ==
             "object_pool_options: lifetime_jitter (1.500000) must be from 0 to 1");
  BOOST_TEST(counts.created == 0);
  thing_pool pool({}, {&counts});
  BOOST_TEST(message_of([&] { pool.resize(0); }) == "object_pool_options: max_size (0) must be at least 1");
}

BOOST_AUTO_TEST_CASE(an_empty_factory_is_refused) {
  const std::function<int()> none;
  BOOST_TEST(message_of([&] { (void)make_object_pool({}, none); }) == "object_pool: the factory is empty");
  int (*const null)() = nullptr;
  BOOST_TEST(message_of([&] { (void)make_object_pool({}, null); }) == "object_pool: the factory is empty");
}

BOOST_AUTO_TEST_CASE(empty_hooks_count_as_absent) {
  auto pool = make_object_pool(
      {}, [] { return 1; }, std::function<void(int&)>{}, std::function<bool(int&)>{},
      std::function<void(int&&)>{});
  pool.acquire().give_back();
  BOOST_TEST(*pool.acquire() == 1);
}

BOOST_AUTO_TEST_CASE(a_factory_that_fails_midway_leaves_nothing_behind) {
  tally counts;
  int asked = 0;
  const thing_lifecycle lifecycle{&counts, nullptr, nullptr, [&] {
                                    if (++asked == 4) {
                                      throw std::runtime_error("fourth");
                                    }
                                  }};
  try {
    thing_pool pool({.max_size = 10, .initial = 10}, lifecycle);
    BOOST_ERROR("the constructor must throw");
  } catch (const pool_error& error) {
    BOOST_TEST((error.code() == pool_errc::factory_failed));
    BOOST_TEST(std::string(error.what()).find("fourth") != std::string::npos);
    BOOST_CHECK_THROW(std::rethrow_exception(error.cause()), std::runtime_error);
  }
  BOOST_TEST(counts.created == 3);
  BOOST_TEST(counts.destroyed == 3);
  BOOST_TEST(counts.alive == 0);
}

BOOST_AUTO_TEST_CASE(when_empty_fail_refuses_and_says_who_holds_the_objects) {
  tally counts;
  thing_pool pool({.max_size = 2, .empty = when_empty::fail}, {&counts});
  auto a = pool.acquire();
  auto b = pool.acquire();
  try {
    auto c = pool.acquire();
    BOOST_ERROR("must be exhausted");
  } catch (const pool_error& error) {
    BOOST_TEST((error.code() == pool_errc::exhausted));
    BOOST_TEST(std::string(error.what()).find("2 of 2 objects in use") != std::string::npos);
    BOOST_TEST(std::string(error.what()).find("object_pool_test.cpp") != std::string::npos);
    BOOST_REQUIRE(error.holders().size() == 2U);
    BOOST_TEST(error.holders()[0].acquired_at.line() + 1 == error.holders()[1].acquired_at.line());
  }
  a.give_back();
  BOOST_TEST(bool(pool.acquire()));
}

BOOST_AUTO_TEST_CASE(try_acquire_never_waits) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  auto one = pool.try_acquire();
  BOOST_REQUIRE(one.has_value());
  BOOST_TEST(!pool.try_acquire().has_value());
  one.reset();
  BOOST_TEST(pool.try_acquire().has_value());
  pool.close();
  BOOST_TEST(!pool.try_acquire().has_value());
  static_assert(!noexcept(pool.try_acquire()));
}

// maxatome/pool and fatih/pool: New(initialCap, maxCap, factory).
BOOST_AUTO_TEST_CASE(an_elastic_pool_never_blocks_and_keeps_max_idle) {
  tally counts;
  thing_pool pool({.max_size = no_limit, .max_idle = 3, .initial = 2, .empty = when_empty::create},
                  {&counts});
  BOOST_TEST(pool.idle() == 2U);
  std::vector<lease<thing>> held;
  for (int i = 0; i < 8; ++i) {
    held.push_back(pool.acquire());
  }
  BOOST_TEST(counts.created == 8);
  check_books(pool);
  held.clear();
  BOOST_TEST(pool.idle() == 3U);
  BOOST_TEST(counts.destroyed == 5);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::surplus) == 5U);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(an_elastic_pool_destroys_on_return_what_exceeds_max_size) {
  tally counts;
  thing_pool pool({.max_size = 3, .empty = when_empty::create}, {&counts});
  std::vector<lease<thing>> held;
  for (int i = 0; i < 5; ++i) {
    held.push_back(pool.acquire());
  }
  check_books(pool);
  held.pop_back();
  held.pop_back();
  BOOST_TEST(pool.idle() == 0U);
  BOOST_TEST(counts.destroyed == 2);
  held.clear();
  BOOST_TEST(pool.idle() == 3U);
  BOOST_TEST(counts.destroyed == 2);
  check_books(pool);
}

// fatih/pool's MarkUnusable closes an unusable connection again when the pool is closed.
BOOST_AUTO_TEST_CASE(a_discarded_object_is_destroyed_once) {
  tally counts;
  {
    thing_pool pool({.max_size = 2}, {&counts});
    auto one = pool.acquire();
    one.discard();
    BOOST_TEST(!one);
    BOOST_TEST(counts.destroyed == 1);
    one.give_back();  // nothing left to give back
    BOOST_TEST(pool.idle() == 0U);
    BOOST_TEST(pool.acquire()->id == 1);
    check_books(pool);
  }
  BOOST_TEST(counts.destroyed == 2);
  BOOST_TEST(counts.twice_closed == 0);
}

// fatih/pool: closing a connection twice puts it into the pool twice, and two users get it.
BOOST_AUTO_TEST_CASE(a_lease_gives_back_once) {
  tally counts;
  thing_pool pool({.max_size = 2}, {&counts});
  auto one = pool.acquire();
  one.give_back();
  one.give_back();
  BOOST_TEST(pool.idle() == 1U);
  auto a = pool.acquire();
  auto b = pool.acquire();
  BOOST_TEST(a->id != b->id);
  static_assert(!std::is_copy_constructible_v<lease<thing>> && !std::is_copy_assignable_v<lease<thing>>);
}

// gopool: Get after Close hangs for ever.
BOOST_AUTO_TEST_CASE(acquire_after_close_fails_at_once) {
  tally counts;
  thing_pool pool({.max_size = 2, .initial = 2}, {&counts});
  pool.close();
  BOOST_TEST(counts.destroyed == 2);
  BOOST_TEST((error_of([&] { return pool.acquire(); }) == pool_errc::closed));
  BOOST_TEST((error_of([&] { return pool.acquire_for(1h); }) == pool_errc::closed));
  pool.close();  // idempotent
  BOOST_TEST(counts.destroyed == 2);
  BOOST_TEST(pool.idle() == 0U);
  check_books(pool);
}

// gopool: the array pool closes objects in use, and closes them again when they come back.
BOOST_AUTO_TEST_CASE(close_leaves_objects_in_use_alone_until_they_come_back) {
  tally counts;
  thing_pool pool({.max_size = 2, .initial = 2}, {&counts});
  auto one = pool.acquire();
  pool.close();
  BOOST_TEST(counts.destroyed == 1);
  BOOST_TEST(!one->closed);
  one->value = 5;  // still ours
  one.give_back();
  BOOST_TEST(counts.destroyed == 2);
  BOOST_TEST(counts.twice_closed == 0);
  BOOST_TEST(counts.alive == 0);
}

// gopool: a panic in the reset function poisons the pool's mutex.
BOOST_AUTO_TEST_CASE(a_reset_that_throws_destroys_the_object_and_nothing_else) {
  tally counts;
  std::atomic<bool> failing{true};
  thing_pool pool({.max_size = 1}, {&counts, nullptr, &failing});
  auto one = pool.acquire();
  one.give_back();
  BOOST_TEST(counts.destroyed == 1);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::unclean) == 1U);
  failing = false;
  pool.acquire().give_back();
  BOOST_TEST(pool.idle() == 1U);
  BOOST_TEST(pool.acquire()->id == 1);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(an_object_found_dead_is_replaced) {
  tally counts;
  thing_pool pool({.max_size = 3, .initial = 3}, {&counts});
  {
    auto a = pool.acquire();
    auto b = pool.acquire();
    a->broken = b->broken = true;
  }
  auto one = pool.acquire();
  BOOST_TEST(!one->broken);
  BOOST_TEST(one->id == 0);  // the third was still alive
  BOOST_TEST(counts.destroyed == 2);
  auto two = pool.acquire();
  BOOST_TEST(two->id == 3);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::invalid) == 2U);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(try_acquire_replaces_dead_objects_too) {
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts});
  pool.acquire()->broken = true;
  auto one = pool.try_acquire();
  BOOST_REQUIRE(one.has_value());
  BOOST_TEST((*one)->id == 1);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(a_validate_that_throws_means_no) {
  bool first = true;
  auto pool = make_object_pool(
      {.max_size = 1}, [n = 0]() mutable { return n++; }, no_hook{},
      [&](int&) -> bool {
        if (std::exchange(first, false)) {
          throw std::runtime_error("peer gone");
        }
        return true;
      });
  pool.acquire().give_back();
  BOOST_TEST(*pool.acquire() == 1);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(detach_takes_the_object_out_for_good) {
  int ended = 0;
  auto pool = make_object_pool(
      {.max_size = 1}, [] { return std::make_unique<int>(4); }, no_hook{}, no_hook{},
      [&](std::unique_ptr<int>&&) { ++ended; });
  auto one = pool.acquire();
  const std::unique_ptr<int> mine = one.detach();
  BOOST_TEST(!one);
  BOOST_TEST(*mine == 4);
  BOOST_TEST(ended == 0);
  BOOST_TEST(pool.statistics().total == 0U);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::detached) == 1U);
  BOOST_TEST(bool(pool.acquire()));
  check_books(pool);
}

namespace {

struct stubborn {
  bool* refuse;
  explicit stubborn(bool* r) : refuse(r) {}
  stubborn(stubborn&& other) : refuse(other.refuse) {
    if (*refuse) {
      throw std::runtime_error("won't move");
    }
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_move_that_throws_changes_nothing) {
  bool refuse = false;
  auto pool = make_object_pool({.max_size = 1}, [&] { return stubborn(&refuse); });
  auto one = pool.acquire();
  refuse = true;
  BOOST_CHECK_THROW((void)one.detach(), std::runtime_error);
  BOOST_TEST(bool(one));
  one.discard();
  stubborn other(&refuse);
  BOOST_CHECK_THROW(pool.adopt(std::move(other)), std::runtime_error);
  BOOST_TEST(pool.statistics().total == 0U);
  BOOST_TEST(pool.statistics().adopted == 0U);
  check_books(pool);
}

// gopool: putting a foreign object into a full pool blocks.
BOOST_AUTO_TEST_CASE(adopt_takes_in_only_what_there_is_room_for) {
  auto pool = make_object_pool({.max_size = 2}, [] { return std::make_unique<int>(0); });
  BOOST_TEST(pool.adopt(std::make_unique<int>(1)));
  BOOST_TEST(pool.adopt(std::make_unique<int>(2)));
  auto left = std::make_unique<int>(3);
  BOOST_TEST(!pool.adopt(std::move(left)));
  BOOST_TEST(bool(left));  // not moved from
  BOOST_TEST(**pool.acquire() == 2);
  BOOST_TEST(pool.statistics().adopted == 2U);
  check_books(pool);
  pool.close();
  BOOST_TEST(!pool.adopt(std::move(left)));
}

BOOST_AUTO_TEST_CASE(warm_creates_ahead_within_the_limits) {
  tally counts;
  thing_pool pool({.max_size = 4}, {&counts});
  auto one = pool.acquire();
  pool.warm(2);
  BOOST_TEST(pool.idle() == 2U);
  pool.warm(2);
  BOOST_TEST(counts.created == 3);
  pool.warm(100);
  BOOST_TEST(counts.created == 4);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(warm_keeps_what_it_made_before_a_failure) {
  tally counts;
  int asked = 0;
  thing_pool pool({.max_size = 4}, {&counts, nullptr, nullptr, [&] {
                                      if (++asked == 3) {
                                        throw std::runtime_error("third");
                                      }
                                    }});
  BOOST_TEST((error_of([&] { return pool.warm(4), 0; }) == pool_errc::factory_failed));
  BOOST_TEST(pool.idle() == 2U);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(resize_grows_and_shrinks) {
  tally counts;
  thing_pool pool({.max_size = 4, .initial = 4}, {&counts});
  auto a = pool.acquire();
  auto b = pool.acquire();
  pool.resize(1);
  BOOST_TEST(pool.idle() == 0U);  // two idle ones destroyed at once
  BOOST_TEST(counts.destroyed == 2);
  check_books(pool);
  a.give_back();  // still one too many
  BOOST_TEST(counts.destroyed == 3);
  b.give_back();
  BOOST_TEST(pool.idle() == 1U);
  pool.resize(2);
  auto c = pool.acquire();
  auto d = pool.acquire();
  BOOST_TEST(pool.statistics().max == 2U);
  BOOST_TEST(!pool.try_acquire().has_value());
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(a_trim_destroys_what_is_idle_but_for_what_it_is_told) {
  tally counts;
  thing_pool pool({.max_size = 4, .initial = 4}, {&counts});
  const auto mine = pool.acquire();
  BOOST_TEST(pool.trim(1) == 2U);
  BOOST_TEST(pool.idle() == 1U);
  BOOST_TEST(counts.destroyed == 2);
  BOOST_TEST(pool.trim(1) == 0U);
  BOOST_TEST(pool.trim() == 1U);
  BOOST_TEST(counts.destroyed == 3);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(evict_if_survives_a_predicate_that_throws) {
  tally counts;
  thing_pool pool({.max_size = 4, .initial = 4}, {&counts});
  BOOST_CHECK_THROW(pool.evict_if([](const thing& one) {
    if (one.id == 1) {
      throw std::runtime_error("undecided");
    }
    return one.id == 3;
  }),
                    std::runtime_error);
  BOOST_TEST(pool.idle() == 3U);
  BOOST_TEST(counts.destroyed == 1);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(invalidate_all_spares_nobody) {
  tally counts;
  thing_pool pool({.max_size = 4, .initial = 4}, {&counts});
  auto one = pool.acquire();
  pool.invalidate_all();
  BOOST_TEST(pool.idle() == 0U);
  BOOST_TEST(counts.destroyed == 3);
  auto fresh = pool.acquire();
  one.give_back();
  BOOST_TEST(counts.destroyed == 4);
  fresh.give_back();  // made after the call
  BOOST_TEST(pool.idle() == 1U);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::invalidated) == 4U);
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(a_lease_outlives_its_pool) {
  tally counts;
  std::optional<thing_pool> pool(std::in_place, object_pool_options{.max_size = 3, .initial = 3},
                                 thing_lifecycle{&counts});
  auto one = pool->acquire();
  auto two = pool->acquire();
  pool.reset();
  BOOST_TEST(counts.destroyed == 1);
  one->value = 3;
  one.give_back();
  BOOST_TEST(counts.destroyed == 2);
  two.discard();
  BOOST_TEST(counts.destroyed == 3);
  BOOST_TEST(counts.alive == 0);
}

BOOST_AUTO_TEST_CASE(a_failed_create_reaches_the_caller_with_its_cause) {
  tally counts;
  std::atomic<int> failing{1};
  thing_pool pool({.max_size = 1, .empty = when_empty::fail}, {&counts, &failing});
  try {
    auto one = pool.acquire();
    BOOST_ERROR("must fail");
  } catch (const pool_error& error) {
    BOOST_TEST((error.code() == pool_errc::factory_failed));
    BOOST_TEST(std::string(error.what()).find("no connection") != std::string::npos);
    BOOST_CHECK_THROW(std::rethrow_exception(error.cause()), std::runtime_error);
  }
  BOOST_TEST(pool.statistics().factory_failures == 1U);
  BOOST_TEST(bool(pool.acquire()));  // a call that doesn't wait asks the factory at once
  check_books(pool);
}

BOOST_AUTO_TEST_CASE(drain_reports_who_still_holds_what_and_for_how_long) {
  manual_clock::reset();
  tally counts;
  thing_pool pool({.max_size = 3}, {&counts}, nullptr, &manual_clock::now);
  auto one = pool.acquire();
  manual_clock::advance(3s);
  auto two = pool.acquire();
  const unsigned line = __LINE__ - 1;
  manual_clock::advance(2s);
  const drain_report report = pool.drain(manual_clock::now());
  BOOST_TEST(!report.drained());
  BOOST_REQUIRE(report.outstanding.size() == 2U);
  BOOST_TEST((report.outstanding[0].age == 5s));
  BOOST_TEST((report.outstanding[1].age == 2s));
  BOOST_TEST(report.outstanding[0].acquired_at.line() == line - 2);
  BOOST_TEST(report.outstanding[1].acquired_at.line() == line);
  BOOST_TEST(std::string(report.outstanding[0].acquired_at.file_name()).find("object_pool_test.cpp") !=
             std::string::npos);
  one.give_back();
  two.give_back();
  BOOST_TEST(pool.drain(manual_clock::now()).drained());
  BOOST_TEST(counts.destroyed == 2);
}

BOOST_AUTO_TEST_CASE(a_pool_of_objects_that_cannot_move_works) {
  static_assert(!std::is_move_constructible_v<thing>);
  tally counts;
  thing_pool pool({}, {&counts});
  BOOST_TEST(pool.acquire()->id == 0);
}

namespace {

struct alignas(256) wide {
  char bytes[256] = {};
};

struct sized_lifecycle {
  std::string create() { return {}; }
  std::size_t retained_bytes(const std::string& s) const noexcept { return s.capacity(); }
};

}  // namespace

BOOST_AUTO_TEST_CASE(objects_get_the_alignment_they_need) {
  auto pool = make_object_pool({.max_size = 9, .initial = 9}, [] { return wide{}; });
  std::vector<lease<wide>> held;
  for (int i = 0; i < 9; ++i) {
    held.push_back(pool.acquire());
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(held.back().get()) % 256 == 0U);
  }
}

BOOST_AUTO_TEST_CASE(idle_objects_are_asked_what_they_retain) {
  object_pool<std::string, sized_lifecycle> pool({.max_size = 2});
  pool.acquire()->resize(1000);
  BOOST_TEST(pool.statistics().retained_bytes >= 1000U);
  auto one = pool.acquire();
  BOOST_TEST(pool.statistics().retained_bytes == 0U);
}

BOOST_AUTO_TEST_CASE(all_memory_comes_from_the_resource_given) {
  std::array<std::byte, 1 << 14> room;
  std::pmr::monotonic_buffer_resource resource(room.data(), room.size(), std::pmr::null_memory_resource());
  auto pool = make_object_pool(
      {.max_size = 20, .initial = 20}, [] { return 1; }, no_hook{}, no_hook{}, no_hook{}, &resource);
  BOOST_TEST(pool.idle() == 20U);
}

BOOST_AUTO_TEST_CASE(counters_count) {
  tally counts;
  thing_pool pool({.max_size = 2}, {&counts});
  pool.acquire().give_back();
  pool.acquire().give_back();
  auto a = pool.acquire();
  auto b = pool.acquire();
  b.discard();
  const auto s = pool.statistics();
  BOOST_TEST(s.acquired == 4U);
  BOOST_TEST(s.returned == 2U);
  BOOST_TEST(s.created == 2U);
  BOOST_TEST(s.in_use == 1U);
  BOOST_TEST(s.idle == 0U);
  BOOST_TEST(s.max == 2U);
  BOOST_TEST(s.destroyed_for(destroy_reason::discarded) == 1U);
}
