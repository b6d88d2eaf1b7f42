// Threads of a synchronized pool: they work, end, trim and fork, and pools are released and die meanwhile.
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "../support/pool_accounts.hpp"
#include "scenarios.hpp"
#include "scheduler.hpp"

namespace cistern::test_support {
namespace {

using testing::checking_resource;

constexpr std::size_t kib = 1024;

// ---- what threads do ----

struct block {
  std::byte* ptr = nullptr;
  std::size_t bytes = 0;
};

/// Small classes, one that is handed over block by block, one without a list, and an oversize one.
constexpr std::array<std::size_t, 7> sizes{16, 24, 100, 1000, 40 * kib, 300 * kib, 70'000'000};

/// What a thread has, and what it hands to others. A block is full of a number that says whose it is.
class worker {
 public:
  /// Where threads leave blocks for others.
  struct exchange {
    detail::mutex lock;
    std::array<block, 6> blocks;

    void give_all_back(synchronized_pool_resource& pool) {
      for (block& each : blocks) {
        if (each.ptr != nullptr) give_back(pool, std::exchange(each, {}));
      }
    }
  };

  worker(synchronized_pool_resource& pool, exchange& others, std::uint64_t seed)
      : pool_(pool), others_(others), random_(static_cast<unsigned>(seed | 1U)) {}
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;
  ~worker() { free_all(); }

  void work(unsigned steps) {
    for (; steps != 0; --steps) {
      const std::size_t what = random_() % 16;
      if (what < 7) {
        allocate(sizes[random_() % 100 == 0 ? 6 : random_() % 6]);
      } else if (what < 12) {
        free_one();
      } else if (what < 14) {
        swap_one();
      } else if (what < 15) {
        allocate_some();
      } else {
        free_all();
      }
    }
  }

 private:
  void allocate(std::size_t bytes) {
    try {
      auto* const ptr = static_cast<std::byte*>(pool_.allocate(bytes));
      fill({ptr, bytes});
      own_.push_back({ptr, bytes});
    } catch (const std::bad_alloc&) {
      demand(pool_.options().max_bytes != no_limit, "refused, though nothing limits the pool");
    }
  }
  void allocate_some() {
    const std::size_t bytes = sizes[random_() % 4];
    for (std::size_t count = random_() % 30; count != 0; --count) allocate(bytes);
  }
  void free_one() {
    if (own_.empty()) return;
    std::swap(own_[random_() % own_.size()], own_.back());
    give_back(pool_, own_.back());
    own_.pop_back();
  }
  void free_all() {
    while (!own_.empty()) free_one();
  }
  void swap_one() {
    block mine;
    if (!own_.empty()) {
      mine = own_.back();
      own_.pop_back();
    }
    {
      const detail::scoped_lock guard(others_.lock);
      std::swap(mine, others_.blocks[random_() % others_.blocks.size()]);
    }
    if (mine.ptr != nullptr) own_.push_back(mine);
  }

  static std::byte mark_of(const block& of) {
    return static_cast<std::byte>(reinterpret_cast<std::uintptr_t>(of.ptr) >> 4);
  }
  static void fill(const block& of) {
    std::memset(of.ptr, std::to_integer<int>(mark_of(of)), std::min<std::size_t>(of.bytes, 64));
    of.ptr[of.bytes - 1] = mark_of(of);
  }

  static void give_back(synchronized_pool_resource& pool, const block& of) {
    const std::size_t looked_at = std::min<std::size_t>(of.bytes, 64);
    demand(std::all_of(of.ptr, of.ptr + looked_at, [&](std::byte each) { return each == mark_of(of); }) &&
               of.ptr[of.bytes - 1] == mark_of(of),
           "a block was somebody else's too");
    std::memset(of.ptr, 0xEE, looked_at);
    pool.deallocate(of.ptr, of.bytes);
  }

  synchronized_pool_resource& pool_;
  exchange& others_;
  random_numbers random_;
  std::vector<block> own_;
};

/// A pool that is small enough for everything to happen, and what its threads share.
struct ground {
  explicit ground(random_numbers& random, const pool_options& options)
      : pool(std::make_unique<synchronized_pool_resource>(options, &upstream)), seed(random()) {}

  /// One thread's work.
  std::function<void()> work(unsigned steps) {
    return [this, steps, own_seed = ++seed] {
      worker(*pool, exchange, own_seed).work(steps);
      ++done;
    };
  }
  void wait_for_work_done(unsigned threads) {
    while (done.load() != threads) schedule_others();
  }

  /// At a quiet moment.
  void check() {
    const std::string fault = accounts_fault(*pool, upstream);
    demand(fault.empty(), fault.c_str());
  }
  /// No block is out, and no thread has a cache any more.
  void finish() {
    exchange.give_all_back(*pool);
    check();
    pool->trim();
    check();
    demand(pool->statistics().in_use_bytes == 0, "blocks are in use that nobody has");
    pool.reset();
    demand(upstream.outstanding_bytes() == 0, "the pool died, and some of its memory is left");
  }

  checking_resource upstream;
  std::unique_ptr<synchronized_pool_resource> pool;
  worker::exchange exchange;
  std::atomic<unsigned> done{0};
  std::uint64_t seed;
};

pool_options some_options(random_numbers& random) {
  const pool_options defaults;
  return {.max_blocks_per_chunk = one_of<std::size_t>(random, {0, 0, 0, 5}),
          .max_bytes = one_of<std::size_t>(random, {no_limit, no_limit, no_limit, 400 * kib}),
          .max_idle_bytes = one_of<std::size_t>(random, {defaults.max_idle_bytes, 0, 20'000, 300'000}),
          .max_idle_blocks_per_bucket = one_of<std::size_t>(random, {no_limit, no_limit, 5}),
          .thread_cache_bytes = one_of<std::size_t>(random, {defaults.thread_cache_bytes, 10'000, 100'000}),
          .zero_on_free = random() % 8 == 0};
}

// ---- scenarios ----

// Threads begin and end while others work.
void ends_of_threads(random_numbers& random, std::uint64_t seed) {
  ground g(random, some_options(random));
  for (unsigned round = 0; round < 3; ++round) {
    run_scheduled(seed + round, {g.work(30), g.work(1), g.work(60), g.work(5)});
    g.check();
  }
  g.finish();
}

void trims(random_numbers& random, std::uint64_t seed) {
  ground g(random, some_options(random));
  const std::size_t keep_bytes = random() % 2 == 0 ? 0 : random() % 200'000;
  run_scheduled(seed, {g.work(60), g.work(60), [&] {
                         for (int i = 0; i < 6; ++i) {
                           (void)g.pool->trim(keep_bytes);
                           (void)g.pool->statistics();
                         }
                       }});
  g.finish();
}

// Of threads that are done with the pool, but haven't ended.
void release_while_threads_end(random_numbers& random, std::uint64_t seed) {
  ground g(random, some_options(random));
  run_scheduled(seed, {g.work(20), g.work(20), g.work(20), [&] {
                         g.wait_for_work_done(3);
                         g.exchange.blocks = {};
                         g.pool->release();
                         worker(*g.pool, g.exchange, 1).work(30);
                       }});
  g.finish();
}

void death_while_threads_end(random_numbers& random, std::uint64_t seed) {
  ground g(random, some_options(random));
  run_scheduled(seed, {g.work(20), g.work(20), g.work(20), [&] {
                         g.wait_for_work_done(3);
                         g.exchange.give_all_back(*g.pool);
                         g.pool.reset();
                         synchronized_pool_resource next(&g.upstream);  // perhaps with the id of the dead one
                         worker(next, g.exchange, 1).work(30);
                         g.exchange.give_all_back(next);
                       }});
  demand(g.upstream.outstanding_bytes() == 0, "the pools died, and some of their memory is left");
}

void forks(random_numbers& random, std::uint64_t seed) {
  ground g(random, some_options(random));
  run_scheduled(seed, {g.work(30), g.work(30), [&] {
                         worker(*g.pool, g.exchange, 1).work(10);
                         run_in_child([&] {
                           {
                             worker::exchange nobody;
                             worker(*g.pool, nobody, 2).work(30);
                             nobody.give_all_back(*g.pool);
                           }
                           g.pool->check_invariants();
                         });
                       }});
  g.finish();
}

// Magazines go to and fro, and threads are asked for theirs when the limit is reached.
void depot_under_a_limit(random_numbers& random, std::uint64_t seed) {
  pool_options options;
  options.max_bytes = 96 * kib + random() % (64 * kib);
  options.thread_cache_bytes = 4 * kib + random() % (32 * kib);
  ground g(random, options);
  run_scheduled(seed, {g.work(50), g.work(50), g.work(50), g.work(50)});
  g.finish();
}

}  // namespace

std::vector<scenario> memory_scenarios() {
  return {{"ends_of_threads", ends_of_threads},
          {"trims", trims},
          {"release_while_threads_end", release_while_threads_end},
          {"death_while_threads_end", death_while_threads_end},
          {"forks", forks},
          {"depot_under_a_limit", depot_under_a_limit}};
}

}  // namespace cistern::test_support
