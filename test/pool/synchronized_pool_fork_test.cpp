// fork while other threads are inside the pool (gperftools#499, jemalloc#2019, tcmalloc#284): the child can
// go on.
#include <cistern/detail/base/asan.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <atomic>
#include <cstring>
#include <memory_resource>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/forking.hpp"
#include "../support/pool_accounts.hpp"
#include "../support/threads.hpp"

using cistern::pool_options;
using cistern::synchronized_pool_resource;
using cistern::test_support::accounts_fault;
using cistern::test_support::child_can_start_threads;
using cistern::test_support::fork_fault;
using cistern::test_support::require;
using cistern::test_support::run_thread;
using cistern::testing::checking_resource;

namespace {

constexpr std::size_t kib = 1024;

/// Allocates one block of each size, writes them, frees them.
void use(std::pmr::memory_resource& pool) {
  for (const std::size_t bytes : {1U, 24U, 100U, 1'000U, 5'000U, 40'000U, 200'000U}) {
    void* block = pool.allocate(bytes, 8);
    std::memset(block, 0x5A, bytes);
    pool.deallocate(block, bytes, 8);
  }
  void* unpooled = pool.allocate(100, 16'384);
  pool.deallocate(unpooled, 100, 16'384);
}

/// In a child: uses the pool on a thread of its own where that is possible.
void use_on_a_thread(std::pmr::memory_resource& pool) {
  if constexpr (child_can_start_threads) {
    run_thread([&] { use(pool); });
  } else {
    use(pool);
  }
}

/// Threads that use a pool until this object ends.
class busy_threads {
 public:
  busy_threads(std::size_t count, std::pmr::memory_resource& pool) {
    for (std::size_t i = 0; i < count; ++i) {
      threads_.emplace_back([&] {
        while (!stop_) {
          use(pool);
          ++rounds_;
        }
      });
    }
    wait_for_progress();
  }
  ~busy_threads() {
    stop_ = true;
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }
  busy_threads(const busy_threads&) = delete;
  busy_threads& operator=(const busy_threads&) = delete;

  /// Until the threads have been through the pool again.
  void wait_for_progress() const {
    for (const std::size_t before = rounds_; rounds_ < before + 3;) {
      std::this_thread::yield();
    }
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<std::size_t> rounds_{0};
  std::vector<std::thread> threads_;
};

void fork_many_times(const pool_options& options, int forks) {
  checking_resource upstream;
  synchronized_pool_resource pool(options, &upstream);
  void* kept = pool.allocate(300);
  {
    busy_threads busy(3, pool);
    for (int i = 0; i < forks; ++i) {
      BOOST_TEST(fork_fault([&] {
                   use(pool);
                   pool.deallocate(kept, 300);
                   pool.trim();
                   use_on_a_thread(pool);
                   (void)pool.statistics();
                   synchronized_pool_resource born_in_child(&pool);
                   use(born_in_child);
                 }) == "");
      busy.wait_for_progress();  // the parent's locks were let go of
    }
  }
  pool.deallocate(kept, 300);
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}

}  // namespace

BOOST_AUTO_TEST_CASE(child_goes_on_where_threads_work_in_caches_and_depot) {
  fork_many_times({}, 12);
}

// Without caches each operation takes locks, and with no idle memory each free calls upstream under one.
BOOST_AUTO_TEST_CASE(child_goes_on_where_threads_are_always_under_a_lock) {
  fork_many_times({.max_idle_bytes = 0, .thread_cache_bytes = 0}, 12);
}

// The upstream's own lock (here that of checking_resource) must be free in the child as well.
BOOST_AUTO_TEST_CASE(child_goes_on_where_every_request_is_passed_to_upstream) {
  fork_many_times({.pass_through = true}, 10);
}

// AddressSanitizer's own allocator, which threads use as they end, may be locked for ever in the child.
BOOST_AUTO_TEST_CASE(child_goes_on_where_threads_come_and_go,
                     *boost::unit_test::enable_if<!cistern::detail::asan_build>()) {
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> ended{0};
  std::thread maker([&] {
    while (!stop) {
      run_thread([&] { use(pool); });
      ++ended;
      pool.trim();  // frees the cache, so that each thread needs a new one from upstream
    }
  });
  for (int i = 0; i < 10; ++i) {
    for (const std::size_t before = ended; ended == before;) {
      std::this_thread::yield();
    }
    BOOST_TEST(fork_fault([&] {
                 use(pool);
                 use_on_a_thread(pool);
                 pool.trim();
               }) == "");
  }
  stop = true;
  maker.join();
  BOOST_TEST(accounts_fault(pool, upstream) == "");
}

// A pool's locks are taken before those of its upstream pool, by fork as by everybody else.
BOOST_AUTO_TEST_CASE(fork_does_not_deadlock_where_one_pool_is_the_upstream_of_another) {
  checking_resource upstream;
  synchronized_pool_resource lower(&upstream);
  synchronized_pool_resource upper({.max_idle_bytes = 0, .thread_cache_bytes = 0}, &lower);
  {
    busy_threads busy(3, upper);
    for (int i = 0; i < 10; ++i) {
      BOOST_TEST(fork_fault([&] {
                   use(upper);
                   use(lower);
                   upper.trim();
                   lower.trim();
                 }) == "");
      busy.wait_for_progress();
    }
  }
  BOOST_TEST(accounts_fault(lower, upstream) == "");
}

// What the caches of threads that the child doesn't have held stays there, and release gets it back.
BOOST_AUTO_TEST_CASE(release_in_the_child_gives_back_what_lost_threads_held) {
  checking_resource upstream;
  synchronized_pool_resource pool({.thread_cache_bytes = 64 * kib}, &upstream);
  busy_threads busy(2, pool);
  BOOST_TEST(fork_fault([&] {
               use(pool);
               pool.release();
               require(upstream.outstanding_bytes() == 0, "release left something behind");
               use(pool);
             }) == "");
}

BOOST_AUTO_TEST_CASE(a_child_of_a_child_works_as_well) {
  synchronized_pool_resource pool;
  busy_threads busy(2, pool);
  BOOST_TEST(fork_fault([&] {
               use_on_a_thread(pool);
               const std::string fault = fork_fault([&] { use(pool); });
               require(fault.empty(), fault.c_str());
               use(pool);
             }) == "");
}
