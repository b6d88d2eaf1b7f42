// Users of object pools: threads and coroutines acquire, wait, are cancelled, give back and end, while pools
// are looked after, closed, forked and destroyed.
#include <cistern/object_pool.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "../support/coroutine.hpp"
#include "scenarios.hpp"
#include "scheduler.hpp"

namespace cistern::test_support {
namespace {

using std::chrono::milliseconds;

/// Each look at it takes a while, so deadlines pass. Only one thread runs at a time: nothing here needs a
/// lock.
std::int64_t time_now = 0;
time_point look_at_clock() noexcept {
  return time_point{milliseconds{++time_now}};
}

// ---- objects ----

struct tally {
  random_numbers random;
  bool may_fail = false;
  std::size_t living = 0;
  std::size_t most = no_limit;

  bool fails(unsigned one_in) { return may_fail && random() % one_in == 0; }
};

/// Knows whether somebody uses it. A move takes it out of the pool, or into it.
struct thing {
  explicit thing(tally& counts) : counted(counts), inside(true) { enter(); }
  thing(tally& counts, std::nullptr_t) : counted(counts), inside(false) {}
  thing(thing&& from) noexcept : counted(from.counted), inside(!from.inside) {
    if (inside) enter();
  }
  thing& operator=(thing&&) = delete;
  ~thing() {
    expect_unused();
    if (inside) --counted.living;
  }
  void enter() const { demand(++counted.living <= counted.most, "more objects than max_size"); }
  void expect_unused() const { demand(!in_hands, "an object in use was touched"); }

  tally& counted;
  bool inside;
  bool in_hands = false;
};

struct thing_life {
  tally* counts;

  thing create() {
    schedule_point();
    if (counts->fails(8)) throw std::runtime_error("no connection");
    return thing(*counts);
  }
  void reset(thing& one) {
    one.expect_unused();
    schedule_point();
    if (counts->fails(16)) throw std::runtime_error("cannot be cleaned");
  }
  bool validate(thing& one) {
    one.expect_unused();
    schedule_point();
    return !counts->fails(8);
  }
  void destroy(thing&& one) const noexcept {
    one.expect_unused();
    schedule_point();
  }
};

void begin_use(const lease<thing>& one) {
  demand(!std::exchange(one->in_hands, true), "two have the same object");
  schedule_point();
}
void end_use(const lease<thing>& one) {
  one->in_hands = false;
}
void give_back(lease<thing> one) {
  if (one) end_use(one);
}

// ---- coroutines ----

/// A coroutine, as those see it who resume and destroy it.
struct task {
  enum class state { running, suspending, waiting, ready, destroying, gone };
  state now = state::running;
  bool resumed_inline = false;
  std::uint64_t waits = 0;
  std::coroutine_handle<> handle{};

  [[nodiscard]] bool may_be_destroyed() const { return now == state::waiting || now == state::ready; }
};

/// Notes when the coroutine may be destroyed: once it waits, until somebody resumes it.
template <class Awaiter>
struct noted {
  Awaiter inner;
  task& noted_in;

  bool await_ready() { return inner.await_ready(); }
  bool await_suspend(std::coroutine_handle<> coroutine) {
    task& mine = noted_in;  // this is in a frame that may be gone soon
    const std::uint64_t wait = ++mine.waits;
    mine.handle = coroutine;
    mine.now = task::state::suspending;
    const bool waits = inner.await_suspend(coroutine);
    if (waits && mine.waits == wait && mine.now == task::state::suspending) mine.now = task::state::waiting;
    return waits;
  }
  auto await_resume() { return inner.await_resume(); }
};

/// Those who wait to be resumed, and all others.
struct task_list {
  std::vector<std::unique_ptr<task>> all;
  std::deque<task*> ready;

  bool run_one() {
    if (ready.empty()) return false;
    task& next = *ready.front();
    ready.pop_front();
    next.now = task::state::running;
    next.handle.resume();
    return true;
  }
  void destroy_one(std::size_t number) {
    std::vector<task*> some;
    for (const auto& each : all) {
      if (each->may_be_destroyed()) some.push_back(each.get());
    }
    if (!some.empty()) destroy(*some[number % some.size()]);
  }
  [[nodiscard]] bool all_gone() const {
    return std::all_of(all.begin(), all.end(),
                       [](const auto& each) { return each->now == task::state::gone; });
  }

 private:
  void destroy(task& one) {
    std::erase(ready, &one);
    one.now = task::state::destroying;
    one.handle.destroy();
    one.now = task::state::gone;
  }
};

/// Resumes at once, or leaves it to whoever looks at the list; or destroys the coroutine.
struct executor {
  task_list* tasks;
  task* mine;
  tally* counts;

  void operator()(std::coroutine_handle<> coroutine) const {
    schedule_others();  // so that somebody destroys the coroutine just now
    demand(mine->now != task::state::gone, "an executor was called for a coroutine that was destroyed");
    if (mine->now == task::state::destroying) return;
    if (!mine->resumed_inline) {
      mine->now = task::state::ready;
      tasks->ready.push_back(mine);
    } else if (counts->random() % 8 == 0) {
      mine->now = task::state::gone;
      coroutine.destroy();
    } else {
      mine->now = task::state::running;
      coroutine.resume();
    }
  }
};

// ---- pools ----

template <class Policy>
struct object_ground {
  using pool_type = object_pool<thing, thing_life, Policy>;
  static constexpr bool is_shared = std::same_as<Policy, shared>;

  object_ground(random_numbers& random, const object_pool_options& options) {
    most_idle = options.max_idle;
    time_now = 1000;
    counts.random.seed(random());
    if (is_shared && options.empty != when_empty::create) counts.most = options.max_size;
    pool = std::make_unique<pool_type>(options, thing_life{&counts}, &upstream, &look_at_clock);
    counts.may_fail = random() % 2 == 0;
  }

  std::size_t draw(std::size_t below) { return counts.random() % below; }
  time_point some_deadline() { return look_at_clock() + milliseconds{draw(8) == 0 ? 0 : draw(60)}; }
  std::stop_token some_stop() {
    return draw(2) == 0 ? std::stop_token{} : stops[draw(stops.size())].get_token();
  }
  void stop_some() {
    std::stop_source asked = std::exchange(stops[draw(stops.size())], std::stop_source());
    asked.request_stop();
  }

  /// A coroutine that acquires `rounds` times.
  void start_task(unsigned rounds, bool without_end) {
    tasks.all.push_back(std::make_unique<task>());
    tasks.all.back()->resumed_inline = draw(2) == 0;
    run_task(*tasks.all.back(), rounds, without_end);
  }
  test::started run_task(task& mine, unsigned rounds, bool without_end) {
    using awaiter = decltype(pool->acquire_async_until(time_point{}, std::stop_token{}, executor{}));
    for (; rounds != 0; --rounds) {
      try {
        noted<awaiter> wait{pool->acquire_async_until(without_end ? time_point::max() : some_deadline(),
                                                      without_end ? std::stop_token{} : some_stop(),
                                                      executor{&tasks, &mine, &counts}),
                            mine};
        lease<thing> one = co_await wait;
        mine.now = task::state::running;
        begin_use(one);
        give_back(std::move(one));
      } catch (const pool_error&) {
        mine.now = task::state::running;
      }
    }
    mine.now = task::state::gone;
  }

  void look_after() {
    switch (draw(10)) {
      case 0:
        (void)pool->trim(draw(3));
        break;
      case 1:
        pool->invalidate_all();
        break;
      case 2:
        resize(1 + draw(4));
        break;
      case 3:
        (void)pool->evict_if([&](const thing& one) {
          one.expect_unused();
          schedule_point();
          return draw(2) == 0;
        });
        break;
      case 4:
        check_idle(pool->statistics().idle);
        break;
      case 5:
        check_idle(pool->idle());
        break;
      case 6:
        try {
          pool->warm(draw(3));
        } catch (const pool_error&) {
        }
        break;
      case 7:
        (void)pool->adopt(thing(counts, nullptr));
        break;
      default:
        (void)pool->maintain();
    }
  }
  void resize(std::size_t max_size) {
    if (counts.most != no_limit) counts.most = std::max(counts.most, max_size);
    pool->resize(max_size);
  }

  void check_idle(std::size_t idle) const {
    if (is_shared) demand(idle <= most_idle, "more objects are idle than may be");
  }
  /// At a quiet moment.
  void check() {
    demand(pool->check_invariants(), "the pool's lists and accounts disagree");
    const std::size_t out = static_cast<std::size_t>(
        std::count_if(exchange.begin(), exchange.end(), [](const auto& each) { return bool(each); }));
    const object_pool_statistics s = pool->statistics();
    demand(s.in_use == out && s.creating == 0, "objects are in use that nobody has");
    demand(s.total == counts.living, "the pool has lost an object");
    check_idle(s.idle);
  }
  void finish_tasks() {
    while (!tasks.all_gone()) {
      if (!tasks.run_one()) pool->maintain();
    }
  }
  void clear_exchange() {
    for (lease<thing>& each : exchange) give_back(std::move(each));
  }
  void finish() {
    clear_exchange();
    finish_tasks();
    check();
    demand(pool->statistics().waiting == 0, "somebody waits who isn't there");
    pool.reset();
    expect_nothing_left();
  }
  void expect_nothing_left() const {
    demand(counts.living == 0, "the pool died, and an object lives");
    demand(upstream.outstanding_bytes() == 0, "the pool died, and some of its memory is left");
  }

  testing::checking_resource upstream;
  tally counts;
  std::size_t most_idle = no_limit;
  std::unique_ptr<pool_type> pool;
  std::array<lease<thing>, 2> exchange;
  std::array<std::stop_source, 2> stops;
  task_list tasks;
  unsigned done = 0;
};

// ---- what threads do ----

/// Uses objects for a limited time each, and hands some to other threads.
template <class Policy>
class user {
 public:
  explicit user(object_ground<Policy>& ground) : g_(ground) {}
  user(const user&) = delete;
  user& operator=(const user&) = delete;
  ~user() {
    while (!own_.empty()) give_one_back();
  }

  void work(unsigned steps) {
    for (; steps != 0; --steps) step();
  }

 private:
  void step() {
    const std::size_t what = g_.draw(18);
    if (what < 5) {
      keep_if_any([&] { return g_.pool->acquire_until(g_.some_deadline(), g_.some_stop()); });
    } else if (what < 6) {
      keep_if_any([&] { return g_.pool->try_acquire().value_or(lease<thing>{}); });
    } else if (what < 10) {
      give_one_back();
    } else if (what < 12) {
      swap_one();
    } else if (what < 13) {
      g_.stop_some();
    } else if (what < 14) {
      lose_one();
    } else if (what < 16) {
      g_.look_after();
    } else {
      at_coroutines();
    }
  }
  template <class Acquire>
  void keep_if_any(Acquire acquire) {
    try {
      if (lease<thing> one = acquire()) {
        begin_use(one);
        own_.push_back(std::move(one));
      }
    } catch (const pool_error&) {
    }
  }
  lease<thing> take_out() {
    lease<thing> one = std::move(own_.back());
    own_.pop_back();
    return one;
  }
  void give_one_back() {
    if (!own_.empty()) give_back(take_out());
  }
  void lose_one() {
    if (own_.empty()) return;
    lease<thing> one = take_out();
    end_use(one);
    if (g_.draw(2) == 0) {
      one.discard();
    } else {
      (void)one.detach();
    }
  }
  void swap_one() {
    lease<thing> mine = own_.empty() ? lease<thing>{} : take_out();
    mine.swap(g_.exchange[g_.draw(g_.exchange.size())]);
    if (mine) own_.push_back(std::move(mine));
  }
  void at_coroutines() {
    if constexpr (object_ground<Policy>::is_shared) {
      switch (g_.draw(4)) {
        case 0:
          g_.tasks.destroy_one(g_.draw(100));
          break;
        case 1:
          g_.start_task(1 + static_cast<unsigned>(g_.draw(2)), false);
          break;
        default:
          (void)g_.tasks.run_one();
      }
    }
  }

  object_ground<Policy>& g_;
  std::vector<lease<thing>> own_;
};

template <class Policy>
std::function<void()> using_objects(object_ground<Policy>& g, unsigned steps) {
  return [&g, steps] {
    user(g).work(steps);
    ++g.done;
  };
}

std::function<void()> waiting_once(object_ground<shared>& g) {
  return [&g] {
    try {
      lease<thing> one = g.pool->acquire();
      begin_use(one);
      give_back(std::move(one));
    } catch (const pool_error&) {
    }
  };
}

/// Waits without an end for one object, or for two if somebody looks for deadlocks; holds nothing meanwhile.
/// Now and then something ends the wait.
std::function<void()> waiting_without_end(object_ground<shared>& g, unsigned rounds, bool for_two) {
  return [&g, rounds, for_two] {
    for (unsigned round = 0; round < rounds; ++round) {
      try {
        lease<thing> one =
            g.draw(4) != 0 ? g.pool->acquire() : g.pool->acquire_until(g.some_deadline(), g.some_stop());
        begin_use(one);
        lease<thing> two;
        try {
          if (for_two && g.draw(2) == 0) {
            two = g.pool->acquire();
            begin_use(two);
          }
        } catch (const pool_error&) {
        }
        give_back(std::move(one));
        give_back(std::move(two));
      } catch (const pool_error&) {
      }
    }
    ++g.done;
  };
}

object_pool_options some_options(random_numbers& random, bool is_shared) {
  object_pool_options options;
  options.max_size = 1 + random() % 3;
  options.max_idle = one_of<std::size_t>(random, {no_limit, no_limit, 0, 1, 2});
  options.initial = options.max_idle == 0 ? 0 : random() % 2;
  options.min_idle = options.max_idle == 0 ? 0 : random() % 2;
  options.idle_timeout = one_of<duration>(random, {forever, milliseconds{20}});
  options.max_lifetime = one_of<duration>(random, {forever, milliseconds{50}});
  options.lifetime_jitter = 0;  // it differs from run to run
  options.validate_after = one_of<duration>(random, {milliseconds{0}, milliseconds{10}});
  options.backoff_max = milliseconds{20};
  if (is_shared) {
    options.max_waiters = one_of<std::size_t>(random, {no_limit, no_limit, 2});
    options.empty = one_of(random, {when_empty::block, when_empty::block, when_empty::block, when_empty::fail,
                                    when_empty::create});
    options.order = one_of(random, {reuse_order::lifo, reuse_order::fifo});
  }
  return options;
}

// ---- scenarios ----

void objects_of_all(random_numbers& random, std::uint64_t seed) {
  object_ground<shared> g(random, some_options(random, true));
  for (unsigned round = 0; round < 2; ++round) {
    run_scheduled(seed + round,
                  {using_objects(g, 20), using_objects(g, 40), using_objects(g, 20), using_objects(g, 5)});
  }
  g.finish();
}

void objects_of_threads(random_numbers& random, std::uint64_t seed) {
  object_ground<per_thread> g(random, some_options(random, false));
  for (unsigned round = 0; round < 3; ++round) {
    run_scheduled(seed + round,
                  {using_objects(g, 30), using_objects(g, 1), using_objects(g, 60), using_objects(g, 5)});
    g.check();
  }
  g.finish();
}

// While somebody shuts the pool's lists, one after the other, others keep what they had.
void few_may_be_idle(random_numbers& random, std::uint64_t seed) {
  object_pool_options options;
  options.max_size = 4;
  options.max_idle = 1 + random() % 2;
  options.order = one_of(random, {reuse_order::lifo, reuse_order::fifo});
  object_ground<shared> g(random, options);
  g.counts.may_fail = false;
  const auto use_and_count = [&] {
    for (unsigned round = 0; round < 10; ++round) {
      lease<thing> one = g.pool->acquire();
      begin_use(one);
      if (g.draw(3) == 0) g.check_idle(g.pool->idle());
      give_back(std::move(one));
      if (g.draw(3) == 0) g.check_idle(g.pool->idle());
    }
  };
  run_scheduled(seed, {use_and_count, use_and_count, use_and_count, use_and_count});
  g.finish();
}

// A wake-up that is lost hangs.
void waits_without_end(random_numbers& random, std::uint64_t seed) {
  object_pool_options options = some_options(random, true);
  options.empty = when_empty::block;
  options.detect_deadlock = random() % 2 == 0;
  object_ground<shared> g(random, options);
  const bool for_two = options.detect_deadlock;
  run_scheduled(seed, {waiting_without_end(g, 6, for_two), waiting_without_end(g, 6, for_two),
                       waiting_without_end(g, 6, for_two), [&] {
                         for (unsigned step = 0; step < 6; ++step) {
                           if (!for_two) g.start_task(1, true);
                           g.look_after();
                           g.stop_some();
                         }
                         while (g.done != 3) {
                           if (!g.tasks.run_one()) schedule_others();
                         }
                       }});
  g.finish();
}

// Of a pool for which threads and coroutines wait, while objects come back and coroutines are destroyed.
void end_of_awaited_pool(random_numbers& random, std::uint64_t seed) {
  object_pool_options options = some_options(random, true);
  options.empty = when_empty::block;
  options.max_waiters = no_limit;
  object_ground<shared> g(random, options);
  g.counts.may_fail = false;
  std::vector<lease<thing>> all;
  for (std::size_t i = 0; i < options.max_size; ++i) {
    all.push_back(g.pool->acquire());
    begin_use(all.back());
  }
  g.counts.may_fail = random() % 2 == 0;
  bool all_wait = false;
  const auto wait_for_all = [&] {
    while (!all_wait) schedule_others();
  };
  run_scheduled(seed, {waiting_once(g), waiting_once(g),
                       [&] {
                         g.start_task(1, true);
                         g.start_task(1, true);
                         wait_for_all();
                         while (!g.tasks.all_gone()) {
                           if (!g.tasks.run_one()) schedule_others();
                           if (g.draw(4) == 0) g.tasks.destroy_one(g.draw(100));
                         }
                       },
                       [&] {
                         wait_for_all();
                         while (!all.empty()) {
                           give_back(std::move(all.back()));
                           all.pop_back();
                         }
                       },
                       [&] {
                         while (g.pool->statistics().waited != 4) schedule_others();
                         all_wait = true;
                         schedule_point();
                         if (g.draw(3) == 0) g.pool->close();
                         if (g.draw(3) == 0) {
                           demand(g.pool->drain(forever).outstanding.empty(), "drained, and objects are out");
                         }
                         g.pool.reset();
                       }});
  g.expect_nothing_left();
}

// Threads are done with the pool, but haven't ended; some of its objects are out.
void end_of_threads_pool(random_numbers& random, std::uint64_t seed) {
  object_ground<per_thread> g(random, some_options(random, false));
  run_scheduled(seed, {using_objects(g, 20), using_objects(g, 20), using_objects(g, 20), [&] {
                         while (g.done != 3) schedule_others();
                         g.pool.reset();
                         g.clear_exchange();
                       }});
  g.expect_nothing_left();
}

template <class Policy>
void fork_with_objects(random_numbers& random, std::uint64_t seed) {
  object_ground<Policy> g(random, some_options(random, object_ground<Policy>::is_shared));
  run_scheduled(seed, {using_objects(g, 20), using_objects(g, 20), [&] {
                         user<Policy>(g).work(10);
                         run_in_child([&] {
                           g.counts.most = no_limit;  // what others were at stays so
                           user<Policy>(g).work(30);
                           demand(g.pool->check_invariants(), "the child's lists and accounts disagree");
                           (void)g.pool->drain(milliseconds{10});
                           demand(g.pool->idle() == 0, "idle objects in a closed pool");
                         });
                       }});
  g.finish();
}

}  // namespace

std::vector<scenario> object_scenarios() {
  return {{"objects_of_all", objects_of_all},
          {"objects_of_threads", objects_of_threads},
          {"few_may_be_idle", few_may_be_idle},
          {"waits_without_end", waits_without_end},
          {"end_of_awaited_pool", end_of_awaited_pool},
          {"end_of_threads_pool", end_of_threads_pool},
          {"fork_with_objects", fork_with_objects<shared>},
          {"fork_with_objects_of_threads", fork_with_objects<per_thread>}};
}

}  // namespace cistern::test_support
