// Threads that end in the middle of an object pool: pthread_cancel and pthread_exit reach them where they
// wait, and in the functions of the user's that run on them. Nothing is lost by that, and nothing stays
// behind.
#include <cistern/object_pool.hpp>

#include <atomic>
#include <memory_resource>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/cancelling_resource.hpp"
#include "../support/coroutine.hpp"
#include "../support/mortal.hpp"
#include "../support/object_pool_support.hpp"
#include <pthread.h>

using namespace cistern;
using namespace cistern::test;
using cistern::test_support::cancel_in_every_call;
using cistern::test_support::cancel_this_thread;
using cistern::test_support::is_cancelled_in;
using cistern::test_support::mortal;

namespace {

[[noreturn]] void wait_for_the_end() {
  for (;;) {
    ::pthread_testcancel();
    std::this_thread::yield();
  }
}

enum class place { nowhere, create, validate, reset, retained_bytes, destroy };

// Where the threads of a test are to end, and how.
struct plan {
  std::atomic<place> at{place::nowhere};
  std::atomic<bool> by_exit{false};
  std::atomic<bool> arrived{false};
  std::atomic<bool> go_on{false};  // of those that run in a destructor
  std::atomic<int> alive{0};
  std::atomic<int> destroyed{0};

  void come_to(place here) {
    if (at != here) {
      return;
    }
    arrived = true;
    if (here != place::create && here != place::validate) {
      yield_until([&] { return go_on.load(); });
      ::pthread_testcancel();
    } else if (by_exit) {
      ::pthread_exit(nullptr);
    } else {
      wait_for_the_end();
    }
  }
};

struct counted {
  explicit counted(plan& one) : plan_(one) { ++plan_.alive; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --plan_.alive; }
  plan& plan_;
};

struct lifecycle {
  plan* the_plan;
  counted create() {
    the_plan->come_to(place::create);
    return counted(*the_plan);
  }
  bool validate(counted&) {
    the_plan->come_to(place::validate);
    return true;
  }
  void reset(counted&) { the_plan->come_to(place::reset); }
  std::size_t retained_bytes(const counted&) {
    the_plan->come_to(place::retained_bytes);
    return 0;
  }
  void destroy(counted&&) noexcept {
    ++the_plan->destroyed;
    the_plan->come_to(place::destroy);
  }
};

using shared_pool = object_pool<counted, lifecycle>;
using threads_pool = object_pool<counted, lifecycle, per_thread>;

// All that a pool of one object must be after a thread ended in it.
template <class Pool>
void check_whole(Pool& pool, plan& the_plan) {
  the_plan.at = place::nowhere;
  auto s = pool.statistics();
  BOOST_TEST(s.creating == 0U);
  BOOST_TEST(s.waiting == 0U);
  BOOST_TEST(s.in_use == 0U);
  BOOST_TEST(the_plan.alive == static_cast<int>(s.total));
  BOOST_TEST(s.factory_failures == 0U);
  BOOST_TEST(pool.check_invariants());
  BOOST_TEST(pool.try_acquire().has_value());
}

// Lets a thread acquire, and ends it at `where`.
template <class Pool>
void end_at(place where, bool by_exit) {
  BOOST_TEST_CONTEXT("place " << static_cast<int>(where) << (by_exit ? " by exit" : " by cancel")) {
    plan the_plan;
    Pool pool({.max_size = 1, .initial = 1}, {&the_plan});
    if (where == place::create) {
      pool.acquire().discard();
    }
    the_plan.at = where;
    the_plan.by_exit = by_exit;
    const mortal thread([&] { auto one = pool.acquire(); });
    yield_until([&] { return the_plan.arrived.load(); });
    if (!by_exit) {
      thread.cancel();
    }
    BOOST_TEST(thread.join() == !by_exit);
    // Where a validation left the object nobody knows.
    BOOST_TEST(the_plan.destroyed == 1);
    BOOST_TEST(the_plan.alive == 0);
    check_whole(pool, the_plan);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cancelled_threads, *boost::unit_test::timeout(120))

BOOST_AUTO_TEST_CASE(the_end_of_a_thread_passes_create_and_validate) {
  for (const place where : {place::create, place::validate}) {
    for (const bool by_exit : {false, true}) {
      end_at<shared_pool>(where, by_exit);
      end_at<threads_pool>(where, by_exit);
    }
  }
}

// What runs on the way back can't be unwound: the thread ends once the object is back.
BOOST_AUTO_TEST_CASE(a_thread_that_gives_back_is_cancelled_afterwards) {
  const auto run = [](auto& pool, plan& the_plan, place where) {
    the_plan.at = where;
    std::atomic<bool> back{false};
    const mortal thread([&] {
      {
        auto one = pool.acquire();
        if (where == place::destroy) {
          one.discard();
        }
      }
      back = true;
      ::pthread_testcancel();
    });
    yield_until([&] { return the_plan.arrived.load(); });
    thread.cancel();
    the_plan.go_on = true;
    BOOST_TEST(thread.join());
    BOOST_TEST(back);
    check_whole(pool, the_plan);
  };
  for (const place where : {place::reset, place::retained_bytes, place::destroy}) {
    plan for_shared;
    shared_pool shared({.max_size = 1}, {&for_shared});
    run(shared, for_shared, where);
    plan for_threads;
    threads_pool per_thread({}, {&for_threads});
    run(per_thread, for_threads, where);
  }
}

BOOST_AUTO_TEST_CASE(a_cancelled_waiter_leaves_the_queue) {
  for (int with = 0; with < 4; ++with) {  // no end; a deadline; a stop token; both
    const auto deadline = (with & 1) != 0 ? std::chrono::steady_clock::now() + 1h : time_point::max();
    std::stop_source source;
    plan the_plan;
    shared_pool pool({.max_size = 1}, {&the_plan});
    auto held = pool.acquire();
    const mortal first([&] {
      (void)pool.acquire_until(deadline, (with & 2) != 0 ? source.get_token() : std::stop_token());
    });
    yield_until_waiting(pool, 1);
    std::atomic<bool> served{false};
    std::jthread second([&] {
      auto one = pool.acquire();
      served = true;
    });
    yield_until_waiting(pool, 2);
    first.cancel();
    BOOST_TEST(first.join());
    BOOST_TEST(pool.statistics().waiting == 1U);
    BOOST_TEST(pool.check_invariants());
    source.request_stop();  // nothing listens any more
    held.give_back();
    second.join();
    BOOST_TEST(served);
    check_whole(pool, the_plan);
  }
}

// Cancelled at the moment in which it is given an object: it has it, or the others do.
BOOST_AUTO_TEST_CASE(a_waiter_that_is_cancelled_while_it_is_served_loses_nothing) {
  for (int i = 0; i < 200; ++i) {
    const bool discard = i % 2 == 0;
    plan the_plan;
    shared_pool pool({.max_size = 1}, {&the_plan});
    auto held = pool.acquire();
    const mortal waiter([&] { auto one = pool.acquire(); });
    yield_until_waiting(pool, 1);
    std::jthread giver([&] {
      if (discard) {
        held.discard();
      } else {
        held.give_back();
      }
    });
    ::sched_yield();
    waiter.cancel();
    (void)waiter.join();
    giver.join();
    check_whole(pool, the_plan);
  }
}

BOOST_AUTO_TEST_CASE(a_pool_may_be_destroyed_after_its_waiter_was_cancelled) {
  plan the_plan;
  lease<counted> held;
  {
    shared_pool pool({.max_size = 1}, {&the_plan});
    held = pool.acquire();
    const mortal waiter([&] { (void)pool.acquire(); });
    yield_until_waiting(pool, 1);
    waiter.cancel();
    BOOST_TEST(waiter.join());
  }
  held.give_back();
  BOOST_TEST(the_plan.alive == 0);
}

BOOST_AUTO_TEST_CASE(a_cancelled_drain_leaves_the_pool_closed) {
  for (const bool endless : {false, true}) {
    plan the_plan;
    shared_pool pool({.max_size = 1}, {&the_plan});
    auto held = pool.acquire();
    const mortal drainer([&] { (void)pool.drain(endless ? forever : duration{1h}); });
    yield_until([&] { return error_of([&] { return pool.acquire_for(0s); }) == pool_errc::closed; });
    drainer.cancel();
    BOOST_TEST(drainer.join());
    held.give_back();
    BOOST_TEST(pool.drain(forever).drained());
    BOOST_TEST(the_plan.alive == 0);
  }
}

BOOST_AUTO_TEST_CASE(warm_evict_and_adopt_may_be_left_in_the_middle) {
  plan the_plan;
  shared_pool pool({.max_size = 3, .initial = 2}, {&the_plan});
  the_plan.at = place::create;
  const mortal warming([&] { pool.warm(3); });
  yield_until([&] { return the_plan.arrived.load(); });
  warming.cancel();
  BOOST_TEST(warming.join());
  BOOST_TEST(pool.idle() == 2U);
  const mortal evicting([&] {
    bool first = true;
    (void)pool.evict_if([&](const counted&) {
      if (!std::exchange(first, false)) {
        ::pthread_exit(nullptr);
      }
      return true;
    });
  });
  BOOST_TEST(!evicting.join());
  BOOST_TEST(pool.idle() == 1U);
  BOOST_TEST(the_plan.alive == 1);
  BOOST_TEST(is_cancelled_in([&] {
    (void)pool.evict_if([](const counted&) {
      cancel_this_thread();
      return true;
    });
  }));
  BOOST_TEST(the_plan.alive == static_cast<int>(pool.idle()));
  check_whole(pool, the_plan);
}

namespace {

struct ends_when_moved {
  std::atomic<bool>* ends;
  explicit ends_when_moved(std::atomic<bool>& when) : ends(&when) {}
  ends_when_moved(ends_when_moved&& other) noexcept(false) : ends(other.ends) {
    if (*ends) {
      ::pthread_exit(nullptr);
    }
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_move_that_ends_the_thread_leaves_the_object_where_it_was) {
  std::atomic<bool> ends{false};
  auto pool = make_object_pool({.max_size = 2}, [&] { return ends_when_moved(ends); });
  auto one = pool.acquire();
  ends = true;
  const mortal detaching([&] { (void)one.detach(); });
  (void)detaching.join();
  BOOST_TEST(bool(one));
  const mortal adopting([&] { (void)pool.adopt(ends_when_moved(ends)); });
  (void)adopting.join();
  one.give_back();
  BOOST_TEST(pool.statistics().total == 1U);
  BOOST_TEST(pool.statistics().in_use == 0U);
  BOOST_TEST(pool.check_invariants());
}

// Its executor runs inside of the call that gives back.
BOOST_AUTO_TEST_CASE(a_thread_that_resumes_a_coroutine_is_cancelled_afterwards) {
  plan the_plan;
  shared_pool pool({.max_size = 1}, {&the_plan});
  std::atomic<bool> resumed{false};
  std::atomic<bool> go_on{false};
  const auto coroutine = [&]() -> started {
    auto one = co_await pool.acquire_async();
    resumed = true;
    yield_until([&] { return go_on.load(); });
    ::pthread_testcancel();
  };
  auto held = pool.acquire();
  coroutine();
  const mortal giver([&] {
    held.give_back();
    ::pthread_testcancel();
  });
  yield_until([&] { return resumed.load(); });
  giver.cancel();
  go_on = true;
  BOOST_TEST(giver.join());
  check_whole(pool, the_plan);
}

namespace {

// Of pools that are made, used and destroyed by a thread, in each of whose calls of the resource it is
// cancelled.
template <class Pool>
void cancel_in_the_resource() {
  plan the_plan;
  const auto calls = cancel_in_every_call([&](std::pmr::memory_resource* resource) {
    Pool pool({}, {&the_plan}, resource);
    {
      auto one = pool.acquire();
      auto another = pool.acquire();
    }
    pool.trim();
    pool.trim();
    pool.warm(3);
  });
  BOOST_TEST(calls > 10U);
  BOOST_TEST(the_plan.alive == 0);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_thread_that_is_cancelled_in_the_resource_loses_no_memory) {
  cancel_in_the_resource<shared_pool>();
  cancel_in_the_resource<threads_pool>();
}

// Its options are looked at when there is memory for it.
BOOST_AUTO_TEST_CASE(memory_of_a_pool_that_is_refused_comes_back) {
  plan the_plan;
  const auto calls = cancel_in_every_call([&](std::pmr::memory_resource* resource) {
    try {
      const shared_pool pool({.max_size = 0}, {&the_plan}, resource);
    } catch (const std::invalid_argument&) {
      return;
    }
  });
  BOOST_TEST(calls == 2U);
}

namespace {

// A clock that is looked at so many times more until a thread is cancelled there.
std::atomic<int> looks_left{-1};

time_point cancelling_clock() {
  if (looks_left >= 0 && looks_left-- == 0) {
    cancel_this_thread();
  }
  ::pthread_testcancel();
  return std::chrono::steady_clock::now();
}

template <class Pool>
void cancel_in_the_clock() {
  bool cancelled = true;
  int look = 0;
  for (; cancelled; ++look) {
    BOOST_TEST_CONTEXT("look " << look) {
      plan the_plan;
      Pool pool({.initial = 1, .idle_timeout = 1h, .max_lifetime = 1h}, {&the_plan}, nullptr,
                &cancelling_clock);
      looks_left = look;
      cancelled = is_cancelled_in([&] {
        {
          auto one = pool.acquire_for(1s);
          (void)pool.statistics();
        }
        (void)pool.maintain();
        pool.acquire().discard();
        looks_left = -1;
      });
      check_whole(pool, the_plan);
    }
  }
  looks_left = -1;
  BOOST_TEST(look > 3);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_thread_that_is_cancelled_in_the_clock_leaves_the_pool_whole) {
  cancel_in_the_clock<shared_pool>();
  cancel_in_the_clock<threads_pool>();
}

BOOST_AUTO_TEST_CASE(a_cancelled_drain_of_threads_objects_leaves_the_pool_closed) {
  plan the_plan;
  threads_pool pool({}, {&the_plan});
  auto held = pool.acquire();
  const mortal drainer([&] { (void)pool.drain(1h); });
  yield_until([&] { return error_of([&] { return pool.acquire(); }) == pool_errc::closed; });
  drainer.cancel();
  BOOST_TEST(drainer.join());
  held.give_back();
  BOOST_TEST(pool.drain(forever).drained());
  BOOST_TEST(the_plan.alive == 0);
}

BOOST_AUTO_TEST_SUITE_END()
