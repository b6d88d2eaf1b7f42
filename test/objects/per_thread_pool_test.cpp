// The per-thread policy: caches, stealing, fading, threads that end, and the books.
#include <cistern/object_pool.hpp>

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <latch>
#include <memory>
#include <memory_resource>
#include <optional>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/coroutine.hpp"
#include "../support/object_pool_support.hpp"

using namespace cistern;
using namespace cistern::test;

using caching_pool = object_pool<thing, thing_lifecycle, per_thread>;

namespace {

void check_quiet(const caching_pool& pool, const tally& counts) {
  const auto s = pool.statistics();
  BOOST_TEST(s.created + s.adopted + s.creating - s.destroyed_total() == s.idle + s.in_use + s.creating);
  BOOST_TEST(s.total == s.idle + s.in_use);
  BOOST_TEST(counts.alive == static_cast<int>(s.total));
  BOOST_TEST(counts.twice_closed == 0);
  BOOST_TEST(pool.check_invariants());
}

/// Says when it is asked for memory.
class telling_resource final : public std::pmr::memory_resource {
 public:
  std::function<void()> at_next_request;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (const auto tell = std::exchange(at_next_request, nullptr)) {
      tell();
    }
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_thread_gets_its_last_object_again) {
  tally counts;
  caching_pool pool({}, {&counts});
  int id = 0;
  {
    auto one = pool.acquire();
    auto two = pool.acquire();
    id = one->id;
    two.give_back();
    one->value = 3;
  }
  auto again = pool.acquire();
  BOOST_TEST(again->id == id);
  BOOST_TEST(again->value == 0);
  BOOST_TEST(again.uses() == 2U);
  BOOST_TEST(counts.created == 2);
  BOOST_TEST(pool.idle() == 1U);
  check_quiet(pool, counts);
}

// sync.Pool hands out objects as they were put back; without a reset so do we.
BOOST_AUTO_TEST_CASE(without_a_reset_objects_come_back_dirty) {
  auto pool = make_object_pool<per_thread>({}, [] { return std::string(); });
  *pool.acquire() = "left behind";
  BOOST_TEST(*pool.acquire() == "left behind");
}

BOOST_AUTO_TEST_CASE(it_never_waits) {
  tally counts;
  caching_pool pool({.max_size = 1}, {&counts});
  std::vector<lease<thing>> held;
  for (int i = 0; i < 500; ++i) {
    held.push_back(pool.acquire());
  }
  held.clear();
  BOOST_TEST(pool.idle() == 500U);
  BOOST_TEST(counts.created == 500);
  for (int i = 0; i < 500; ++i) {
    held.push_back(*pool.try_acquire());
  }
  BOOST_TEST(counts.created == 500);
  BOOST_TEST(pool.idle() == 0U);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(an_empty_thread_steals_even_a_single_object) {
  tally counts;
  caching_pool pool({}, {&counts});
  for (const int objects : {1, 2, 20, 100}) {
    std::vector<lease<thing>> held;
    for (int i = 0; i < objects; ++i) {
      held.push_back(pool.acquire());
    }
    held.clear();
    const int before = counts.created;
    std::jthread([&] {
      std::vector<lease<thing>> taken;
      for (int i = 0; i < objects; ++i) {
        taken.push_back(pool.acquire());
      }
    }).join();
    BOOST_TEST(counts.created == before);
  }
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(idle_objects_fade_after_two_trims) {
  tally counts;
  caching_pool pool({}, {&counts});
  pool.acquire().give_back();
  BOOST_TEST(pool.trim() == 0U);
  BOOST_TEST(pool.idle() == 1U);
  pool.acquire().give_back();  // used: it stays for two more
  BOOST_TEST(pool.trim() == 0U);
  BOOST_TEST(pool.trim() == 1U);
  BOOST_TEST(pool.idle() == 0U);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::idle) == 1U);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(trim_spares_as_many_as_it_is_told) {
  tally counts;
  caching_pool pool({.initial = 5}, {&counts});
  pool.trim();
  BOOST_TEST(pool.trim(2) == 3U);
  BOOST_TEST(pool.idle() == 2U);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(maintain_is_a_tick) {
  manual_clock::reset();
  tally counts;
  caching_pool pool({}, {&counts}, nullptr, &manual_clock::now);
  BOOST_TEST((pool.maintain(manual_clock::now()) == time_point::max()));
  pool.acquire().give_back();
  BOOST_TEST((pool.maintain(manual_clock::now()) == manual_clock::now() + 1min));
  BOOST_TEST((pool.maintain(manual_clock::now()) == time_point::max()));
  BOOST_TEST(pool.idle() == 0U);
}

BOOST_AUTO_TEST_CASE(with_an_idle_timeout_maintain_goes_by_the_clock) {
  manual_clock::reset();
  tally counts;
  caching_pool pool({.idle_timeout = 10s}, {&counts}, nullptr, &manual_clock::now);
  pool.acquire().give_back();
  const time_point returned = manual_clock::now();
  for (int i = 0; i < 5; ++i) {
    BOOST_TEST((pool.maintain(manual_clock::now()) == returned + 10s));
  }
  BOOST_TEST(pool.idle() == 1U);
  manual_clock::advance(10s);
  BOOST_TEST((pool.maintain(manual_clock::now()) == time_point::max()));
  BOOST_TEST(pool.idle() == 0U);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::idle) == 1U);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(min_idle_is_kept_up_and_spared) {
  manual_clock::reset();
  tally counts;
  std::atomic<int> failing_creates{0};
  caching_pool pool({.min_idle = 3, .idle_timeout = 10s}, {&counts, &failing_creates}, nullptr,
                    &manual_clock::now);
  pool.maintain();
  BOOST_TEST(pool.idle() == 3U);
  pool.warm(5);
  manual_clock::advance(1h);
  pool.maintain();
  BOOST_TEST(pool.idle() == 3U);
  pool.invalidate_all();
  failing_creates = 1;
  BOOST_TEST((pool.maintain() == manual_clock::now() + 10ms));  // the factory is left in peace for a while
  BOOST_TEST(pool.idle() == 0U);
  pool.maintain();
  BOOST_TEST(counts.created == 5);
  manual_clock::advance(10ms);
  pool.maintain();
  BOOST_TEST(pool.idle() == 3U);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(objects_do_not_outlive_max_lifetime) {
  manual_clock::reset();
  tally counts;
  caching_pool pool({.max_lifetime = 10s, .lifetime_jitter = 0}, {&counts}, nullptr, &manual_clock::now);
  auto held = pool.acquire();
  pool.acquire().give_back();
  BOOST_TEST((pool.maintain() == manual_clock::now() + 10s));
  manual_clock::advance(10s);
  BOOST_TEST(pool.acquire()->id == 2);  // found too old on acquire
  held.give_back();                     // and on return
  BOOST_TEST(pool.idle() == 1U);
  manual_clock::advance(10s);
  pool.maintain();
  BOOST_TEST(pool.idle() == 0U);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::expired) == 3U);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(recently_used_objects_are_not_validated) {
  manual_clock::reset();
  tally counts;
  caching_pool pool({.validate_after = 1s}, {&counts}, nullptr, &manual_clock::now);
  pool.acquire().give_back();
  pool.acquire().give_back();
  BOOST_TEST(counts.validated == 0);
  manual_clock::advance(1s);
  pool.acquire().give_back();
  BOOST_TEST(counts.validated == 1);
}

BOOST_AUTO_TEST_CASE(deadlines_and_stop_tokens_are_heeded_without_waiting) {
  manual_clock::reset();
  tally counts;
  thing_lifecycle slow{&counts};
  slow.on_create = [] { manual_clock::advance(5s); };
  caching_pool pool({.acquire_timeout = 2s}, std::move(slow), nullptr, &manual_clock::now);
  // A create that outlives its caller's deadline finishes and lands in the pool.
  BOOST_TEST(error_of([&] { return pool.acquire_for(1s); }) == pool_errc::timeout);
  BOOST_TEST(pool.idle() == 1U);
  BOOST_TEST(pool.acquire_until(manual_clock::now() - 1s)->id == 0);  // what is idle is given at once
  const auto held = pool.acquire();
  BOOST_TEST(error_of([&] { return pool.acquire(); }) == pool_errc::timeout);
  BOOST_TEST(pool.acquire_for(forever)->id == 1);
  std::stop_source source;
  source.request_stop();
  BOOST_TEST(error_of([&] { return pool.acquire_for(forever, source.get_token()); }) == pool_errc::cancelled);
  BOOST_TEST(pool.idle() == 1U);
  BOOST_TEST(pool.statistics().timed_out == 2U);
  BOOST_TEST(pool.statistics().cancelled == 1U);
  pool.close();
  BOOST_TEST(error_of([&] { return pool.acquire_for(forever, source.get_token()); }) == pool_errc::closed);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(coroutines_never_suspend) {
  tally counts;
  caching_pool pool({}, {&counts});
  bool executor_called = false;
  int acquired = 0;
  bool closed = false;
  const auto use = [&]() -> started {
    try {
      auto one = co_await pool.acquire_async([&](std::coroutine_handle<>) { executor_called = true; });
      auto other = co_await pool.acquire_async_until(time_point::max());
      acquired += one->id != other->id ? 2 : 0;
    } catch (const pool_error& error) {
      closed = error.code() == pool_errc::closed;
    }
  };
  use();
  use();
  BOOST_TEST(acquired == 4);
  BOOST_TEST(!executor_called);
  pool.close();
  use();
  BOOST_TEST(closed);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(resize_bounds_what_lies_idle) {
  tally counts;
  caching_pool pool({}, {&counts});
  {
    std::vector<lease<thing>> many;
    for (int i = 0; i < 40; ++i) {
      many.push_back(pool.acquire());
    }
  }
  BOOST_TEST(pool.idle() == 40U);
  pool.resize(5);
  BOOST_TEST(pool.idle() == 5U);
  {
    std::vector<lease<thing>> many;
    for (int i = 0; i < 8; ++i) {
      many.push_back(pool.acquire());  // it still never says no
    }
  }
  BOOST_TEST(pool.idle() == 5U);
  BOOST_CHECK_THROW(pool.resize(0), std::invalid_argument);
  pool.resize(no_limit);
  pool.warm(50);
  BOOST_TEST(pool.idle() == 50U);
  check_quiet(pool, counts);
  pool.close();
  pool.resize(1);
  check_quiet(pool, counts);
}

// The cache of another thread is made under the mutex: who needs that now waits for ever.
BOOST_AUTO_TEST_CASE(upkeep_leaves_threads_their_way_past_the_mutex) {
  telling_resource memory;
  tally counts;
  caching_pool pool({}, {&counts}, &memory);
  pool.acquire().give_back();
  pool.resize(100);
  pool.invalidate_all();
  pool.evict_if([](const thing&) { return true; });
  pool.acquire().give_back();
  std::latch locked(1);
  std::latch served(1);
  memory.at_next_request = [&] {
    locked.count_down();
    served.wait();
  };
  std::jthread other([&] { pool.acquire().give_back(); });
  locked.wait();
  BOOST_TEST(pool.acquire()->id == 1);
  served.count_down();
  other.join();
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(statistics_reach_into_every_cache) {
  struct buffers {
    std::vector<char> create() { return std::vector<char>(100); }
    std::size_t retained_bytes(const std::vector<char>& one) noexcept { return one.capacity(); }
  };
  object_pool<std::vector<char>, buffers, per_thread> pool;
  {
    std::vector<lease<std::vector<char>>> held;
    for (int i = 0; i < 40; ++i) {  // more than a cache holds
      held.push_back(pool.acquire());
    }
  }
  BOOST_TEST(pool.statistics().retained_bytes == 4000U);
}

BOOST_AUTO_TEST_CASE(trim_reaches_the_caches_of_other_threads_and_the_depot) {
  tally counts;
  caching_pool pool({}, {&counts});
  std::latch cached(2);
  std::latch trimmed(2);
  std::jthread other([&] {
    std::vector<lease<thing>> held;
    for (int i = 0; i < 100; ++i) {
      held.push_back(pool.acquire());
    }
    held.clear();
    cached.arrive_and_wait();
    trimmed.arrive_and_wait();
  });
  cached.arrive_and_wait();
  BOOST_TEST(pool.idle() == 100U);
  BOOST_TEST(pool.trim() == 0U);
  BOOST_TEST(pool.trim() == 100U);
  trimmed.arrive_and_wait();
  other.join();
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(a_thread_that_ends_leaves_its_objects_and_its_cache_to_others) {
  tally counts;
  caching_pool pool({}, {&counts});
  for (int i = 0; i < 100; ++i) {
    std::jthread([&] {
      auto a = pool.acquire();
      auto b = pool.acquire();
    }).join();
    BOOST_TEST(pool.idle() == 2U);
  }
  BOOST_TEST(counts.created == 2);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(pools_may_die_before_the_threads_that_used_them) {
  tally counts;
  for (int i = 0; i < 100; ++i) {
    std::optional<caching_pool> pool(std::in_place, object_pool_options{}, thing_lifecycle{&counts});
    std::latch used(2);
    std::latch dead(2);
    int second = -1;
    std::jthread other([&] {
      pool->acquire().give_back();
      used.arrive_and_wait();
      dead.arrive_and_wait();
      // A new pool at the old address knows nothing of the old one's objects.
      second = pool->acquire()->id;
    });
    used.arrive_and_wait();
    pool.emplace(object_pool_options{}, thing_lifecycle{&counts});
    dead.arrive_and_wait();
    other.join();
    BOOST_REQUIRE(second == i * 2 + 1);
  }
  BOOST_TEST(counts.alive == 0);
  BOOST_TEST(counts.created == 200);
}

BOOST_AUTO_TEST_CASE(thousands_of_pools_at_once) {
  std::vector<std::unique_ptr<caching_pool>> pools;
  tally counts;
  for (int i = 0; i < 3000; ++i) {
    pools.push_back(std::make_unique<caching_pool>(object_pool_options{}, thing_lifecycle{&counts}));
    pools.back()->acquire().give_back();
  }
  for (auto& pool : pools) {
    pool->acquire().give_back();
  }
  BOOST_TEST(counts.created == 3000);
  pools.clear();
  BOOST_TEST(counts.alive == 0);
}

BOOST_AUTO_TEST_CASE(close_and_leases_that_outlive_the_pool) {
  tally counts;
  std::optional<caching_pool> pool(std::in_place, object_pool_options{.initial = 3},
                                   thing_lifecycle{&counts});
  BOOST_TEST(pool->idle() == 3U);
  auto one = pool->acquire();
  auto two = pool->acquire();
  pool->close();
  pool->close();
  BOOST_TEST(counts.destroyed == 1);
  BOOST_TEST((error_of([&] { return pool->acquire(); }) == pool_errc::closed));
  BOOST_TEST(!pool->try_acquire().has_value());
  two.give_back();
  BOOST_TEST(counts.destroyed == 2);
  pool.reset();
  one.give_back();
  BOOST_TEST(counts.alive == 0);
  BOOST_TEST(counts.destroyed == 3);
}

BOOST_AUTO_TEST_CASE(drain_waits_and_reports) {
  manual_clock::reset();
  tally counts;
  caching_pool pool({}, {&counts}, nullptr, &manual_clock::now);
  auto one = pool.acquire();
  manual_clock::advance(7s);
  const drain_report report = pool.drain(manual_clock::now());
  BOOST_REQUIRE(report.outstanding.size() == 1U);
  BOOST_TEST((report.outstanding[0].age == 7s));
  one.give_back();
  BOOST_TEST(pool.drain(1h).drained());
}

BOOST_AUTO_TEST_CASE(failures_leave_the_books_in_order) {
  tally counts;
  std::atomic<int> failing{1};
  std::atomic<bool> failing_reset{true};
  caching_pool pool({}, {&counts, &failing, &failing_reset});
  BOOST_TEST((error_of([&] { return pool.acquire(); }) == pool_errc::factory_failed));
  BOOST_TEST(pool.statistics().factory_failures == 1U);
  pool.acquire().give_back();
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::unclean) == 1U);
  failing_reset = false;
  pool.acquire()->broken = true;
  BOOST_TEST(pool.acquire()->id == 2);
  BOOST_TEST(pool.statistics().destroyed_for(destroy_reason::invalid) == 1U);
  pool.acquire().discard();
  BOOST_TEST(pool.statistics().total == 0U);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(the_rest_of_the_interface) {
  tally counts;
  caching_pool pool({.max_idle = 50}, {&counts});
  pool.warm(40);
  BOOST_TEST(pool.idle() == 40U);
  pool.warm(1000);
  BOOST_TEST(pool.idle() == 50U);
  BOOST_TEST(pool.evict_if([](const thing& one) { return one.id % 2 == 0; }) == 25U);
  BOOST_TEST(pool.idle() == 25U);
  auto one = pool.acquire();
  pool.invalidate_all();
  BOOST_TEST(pool.idle() == 0U);
  one.give_back();
  BOOST_TEST(pool.idle() == 0U);
  BOOST_TEST(counts.alive == 0);
  auto numbers = make_object_pool<per_thread>({.max_idle = 1}, [] { return 1; });
  BOOST_TEST(numbers.adopt(2));
  BOOST_TEST(!numbers.adopt(3));
  auto two = numbers.acquire();
  BOOST_TEST(*two == 2);
  BOOST_TEST(two.detach() == 2);
  BOOST_TEST(numbers.statistics().total == 0U);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(options_without_a_meaning_are_refused) {
  tally counts;
  const auto refused = [&](const object_pool_options& options) {
    BOOST_CHECK_THROW(caching_pool(options, {&counts}), std::invalid_argument);
  };
  refused({.order = reuse_order::fifo});
  refused({.max_idle = 3, .initial = 4});
  refused({.max_idle = 3, .min_idle = 4});
  refused({.idle_timeout = -1s});
  BOOST_TEST(caching_pool({.max_size = 1, .initial = 4}, {&counts}).idle() == 4U);
}

BOOST_AUTO_TEST_CASE(many_threads_and_everything_at_once) {
  tally counts;
  caching_pool pool({.min_idle = 2, .max_lifetime = 5ms}, {&counts});
  std::atomic<int> shared_objects{0};
  std::vector<lease<thing>> handed_over(64);
  for (int round = 0; round < 3; ++round) {
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 64; ++t) {
        threads.emplace_back([&, t] {
          std::minstd_rand random(static_cast<unsigned>(t + 1));
          handed_over[static_cast<std::size_t>(t)].give_back();  // acquired by a thread that has ended
          for (int i = 0; i < 300; ++i) {
            std::vector<lease<thing>> held;
            for (auto n = random() % 40; n > 0; --n) {
              held.push_back(pool.acquire());
              if (held.back()->in_hands.exchange(true)) {
                ++shared_objects;
              }
            }
            for (auto& one : held) {
              one->in_hands = false;
              if (random() % 64 == 0) {
                one.discard();
              }
            }
            if (t < 2) {
              pool.trim();
            } else if (t == 2) {
              pool.invalidate_all();
            } else if (t == 3) {
              pool.evict_if([](const thing& one) { return one.id % 7 == 0; });
            } else if (t == 4) {
              pool.resize(1 + random() % 100);
            } else if (t == 5) {
              pool.maintain();
            } else if (t == 6) {
              (void)pool.statistics();
            }
          }
          handed_over[static_cast<std::size_t>(t)] = pool.acquire();
        });
      }
    }
    BOOST_TEST(shared_objects == 0);
    check_quiet(pool, counts);
  }
  handed_over.clear();
  pool.trim();
  pool.trim(0);
  BOOST_TEST(pool.idle() == 0U);
  check_quiet(pool, counts);
}

BOOST_AUTO_TEST_CASE(closing_in_the_middle_of_it_loses_nothing) {
  for (int round = 0; round < 20; ++round) {
    tally counts;
    caching_pool pool({}, {&counts});
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&] {
          while (auto one = pool.try_acquire()) {
            auto other = pool.try_acquire();
          }
        });
      }
      yield_until([&] { return pool.statistics().acquired > 1000; });
      BOOST_TEST(pool.drain(forever).drained());
    }
    BOOST_TEST(counts.alive == 0);
    BOOST_TEST(counts.created == counts.destroyed);
    check_quiet(pool, counts);
  }
}
