// fork while other threads are anywhere in any pool, begin and end: the child can use every pool there was,
// and make others.
#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/object_pool.hpp>
#include <cistern/synchronized_pool_resource.hpp>

#include <atomic>
#include <cstddef>
#include <memory_resource>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/forking.hpp"
#include "../support/threads.hpp"

using cistern::object_pool;
using cistern::per_thread;
using cistern::synchronized_pool_resource;
using cistern::test_support::child_can_start_threads;
using cistern::test_support::fork_fault;
using cistern::test_support::require;
using cistern::test_support::run_thread;

namespace {

struct make_int {
  int create() { return 1; }
};
using shared_pool = object_pool<int, make_int>;
using caching_pool = object_pool<int, make_int, per_thread>;

/// Passes on to a resource that is named later: so an upstream may be younger than its pool.
class forwarding_resource : public std::pmr::memory_resource {
 public:
  std::pmr::memory_resource* to = nullptr;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return to->allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    to->deallocate(block, bytes, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
};

void use(std::pmr::memory_resource& memory) {
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) {
    blocks.push_back(memory.allocate(200, 8));
  }
  for (void* block : blocks) {
    memory.deallocate(block, 200, 8);
  }
}

/// One of everything that has a lock.
struct every_pool {
  synchronized_pool_resource memory{{.max_idle_bytes = 0, .thread_cache_bytes = 4096},
                                    std::pmr::new_delete_resource()};
  forwarding_resource to_younger;
  synchronized_pool_resource older{{.max_idle_bytes = 0, .thread_cache_bytes = 0}, &to_younger};
  synchronized_pool_resource younger{{.thread_cache_bytes = 0}, std::pmr::new_delete_resource()};
  shared_pool lifo{{.max_size = 64}};
  shared_pool fifo{{.max_size = 64, .order = cistern::reuse_order::fifo}};
  shared_pool scarce{{.max_size = 1, .empty = cistern::when_empty::block}};
  caching_pool caching{{.max_idle = 3}, {}, &memory};
  cistern::statistics_adaptor counted{&memory};
  cistern::guarding_adaptor guarded{&memory};
  cistern::fallback_adaptor fallback{&memory, &younger};
  cistern::recording_adaptor recorded{[](std::span<const std::byte>) {}, &memory};
  cistern::sampling_guard_adaptor sampled{{.one_in = 2, .slots = 16}, &memory};

  every_pool() { to_younger.to = &younger; }

  /// `scarce` has one object: a child has none where another thread had it.
  void use_all(bool in_child) {
    for (std::pmr::memory_resource* one :
         {static_cast<std::pmr::memory_resource*>(&memory), static_cast<std::pmr::memory_resource*>(&older),
          static_cast<std::pmr::memory_resource*>(&younger),
          static_cast<std::pmr::memory_resource*>(&counted),
          static_cast<std::pmr::memory_resource*>(&guarded),
          static_cast<std::pmr::memory_resource*>(&fallback),
          static_cast<std::pmr::memory_resource*>(&recorded),
          static_cast<std::pmr::memory_resource*>(&sampled)}) {
      use(*one);
    }
    older.trim();
    for (shared_pool* pool : {&lifo, &fifo}) {
      const auto one = pool->acquire();
      const auto other = pool->acquire();
      (void)pool->statistics();
    }
    if (in_child) {
      (void)scarce.try_acquire();
    } else {
      (void)scarce.acquire();
    }
    const auto first = caching.acquire();
    const auto second = caching.acquire();
    (void)caching.statistics();
    (void)caching.trim();
  }
};

/// Threads that begin, use all pools, and end.
class churn {
 public:
  churn(std::size_t count, every_pool& pools) {
    for (std::size_t i = 0; i < count; ++i) {
      threads_.emplace_back([&] {
        while (!stop_) {
          run_thread([&] { pools.use_all(false); });
        }
      });
    }
  }
  ~churn() {
    stop_ = true;
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }
  churn(const churn&) = delete;
  churn& operator=(const churn&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

void use_in_child(every_pool& pools) {
  pools.use_all(true);
  every_pool own;
  own.use_all(true);
  if constexpr (child_can_start_threads) {
    run_thread([&] {
      pools.use_all(true);
      own.use_all(true);
    });
  }
  pools.caching.close();
  pools.scarce.close();
}

}  // namespace

BOOST_AUTO_TEST_CASE(three_hundred_children_use_all_pools_of_their_parent_and_their_own) {
  every_pool pools;
  const churn threads(3, pools);
  for (int i = 0; i < 300; ++i) {
    const std::string fault = fork_fault([&] { use_in_child(pools); });
    BOOST_REQUIRE_EQUAL(fault, "");
  }
}

// Here the order of the locks that fork takes first is always the wrong one.
BOOST_AUTO_TEST_CASE(fork_takes_the_locks_of_an_upstream_that_is_younger_than_its_pool) {
  forwarding_resource to_younger;
  synchronized_pool_resource older({.max_idle_bytes = 0, .thread_cache_bytes = 0}, &to_younger);
  synchronized_pool_resource younger({.thread_cache_bytes = 0}, std::pmr::new_delete_resource());
  to_younger.to = &younger;
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      use(older);
    }
  });
  for (int i = 0; i < 100; ++i) {
    BOOST_TEST(fork_fault([&] {
                 use(older);
                 use(younger);
               }) == "");
  }
  stop = true;
  busy.join();
  older.release();  // what it keeps is the younger one's, which goes first
}

// Those who wait in a queue don't exist in the child, and don't keep it from being served.
BOOST_AUTO_TEST_CASE(a_child_is_served_where_threads_of_the_parent_wait) {
  shared_pool pool({.max_size = 1, .empty = cistern::when_empty::block});
  auto held = pool.acquire();
  std::vector<std::thread> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] { (void)pool.acquire(); });
  }
  while (pool.statistics().waiting < 3) {
    std::this_thread::yield();
  }
  BOOST_TEST(fork_fault([&] {
               require(pool.statistics().waiting == 0, "a thread waits that isn't there");
               held.give_back();
               held = pool.acquire();
               held.give_back();
               require(pool.check_invariants(), "invariants");
               require(pool.drain(cistern::time_point::max()).outstanding.empty(), "drained");
             }) == "");
  held.give_back();
  for (std::thread& thread : waiting) {
    thread.join();
  }
}

// What the caches of the parent's other threads had kept, the child has.
BOOST_AUTO_TEST_CASE(a_child_takes_over_what_the_caches_of_lost_threads_hold) {
  caching_pool pool;
  std::atomic<int> phase{0};
  std::thread other([&] {
    { auto one = pool.acquire(); }
    phase = 1;
    phase.notify_all();
    phase.wait(1);
  });
  phase.wait(0);
  BOOST_TEST(fork_fault([&] {
               require(pool.idle() == 1, "the other thread's object is lost");
               const auto one = pool.acquire();
               require(pool.statistics().created == 1, "there was one to take");
               (void)pool.trim();
             }) == "");
  phase = 2;
  phase.notify_all();
  other.join();
}
