// Threads end, pools die, addresses are used again, and frees come later than anyone would like.
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <array>
#include <barrier>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/pool_accounts.hpp"
#include "../support/threads.hpp"
#include <pthread.h>
#include <unistd.h>

using cistern::pool_statistics;
using cistern::synchronized_pool_resource;
using cistern::test_support::accounts_fault;
using cistern::test_support::counted_operations;
using cistern::test_support::require;
using cistern::test_support::run_and_die;
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;
using cistern::testing::checking_resource;

namespace {

constexpr std::size_t kib = 1024;

/// Has some blocks of several classes at a time, writes them, and frees them: leaves a cache full of blocks.
void use(std::pmr::memory_resource& pool) {
  std::array<void*, 40> blocks{};
  for (const std::size_t bytes : {24U, 100U, 1'000U}) {
    for (void*& block : blocks) {
      block = pool.allocate(bytes, 8);
      std::memset(block, 0x5A, bytes);
    }
    for (void* block : blocks) {
      pool.deallocate(block, bytes, 8);
    }
  }
}

/// Calls a function when its thread's thread_local objects are destroyed.
struct at_thread_exit {
  void (*action)() = nullptr;
  ~at_thread_exit() {
    if (action != nullptr) {
      action();
    }
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(threads_that_end)

// libstdc++: 2,000 ended threads pin 1.9 MB that no other thread uses again. gperftools#1020: short-lived
// threads grow memory.
BOOST_AUTO_TEST_CASE(two_thousand_short_threads_do_not_grow_memory) {
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  for (int i = 0; i < 10; ++i) {
    run_thread([&] { use(pool); });
  }
  const std::size_t held_after_ten_bytes = upstream.outstanding_bytes();
  for (int i = 0; i < 1'990; ++i) {
    run_thread([&] { use(pool); });
  }
  BOOST_TEST(upstream.peak_bytes() == held_after_ten_bytes);
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  BOOST_TEST(counted_operations(pool.statistics()).allocations == 2'000U * 120U);
  BOOST_TEST(counted_operations(pool.statistics()).deallocations == 2'000U * 120U);
  pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() == 0U);  // the ended threads' caches, and this thread has none
}

BOOST_AUTO_TEST_CASE(blocks_of_a_thread_that_ended_serve_the_next_one) {
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  run_thread([&] { use(pool); });
  const std::uint64_t before = upstream.allocations();
  run_thread([&] { use(pool); });
  BOOST_TEST(upstream.allocations() == before);
}

BOOST_AUTO_TEST_CASE(three_hundred_threads_at_once_and_all_they_held_comes_back) {
  constexpr std::size_t threads = 300;
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  std::barrier all_inside(threads);
  run_threads(threads, [&](std::size_t) {
    void* mine = pool.allocate(500);
    use(pool);
    all_inside.arrive_and_wait();
    pool.deallocate(mine, 500);
  });
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
  pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(threads_that_end_while_others_trim_and_begin) {
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  run_threads(4, [&](std::size_t index) {
    for (int i = 0; i < 100; ++i) {
      if (index == 0) {
        pool.trim();
      } else {
        run_thread([&] { use(pool); });
      }
    }
  });
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(pools_that_die)

BOOST_AUTO_TEST_CASE(a_pool_dies_before_the_threads_that_used_it) {
  checking_resource upstream;
  std::optional<synchronized_pool_resource> pool(std::in_place, &upstream);
  std::barrier turn(4);
  run_threads(4, [&](std::size_t index) {
    use(*pool);
    turn.arrive_and_wait();
    if (index == 0) {
      pool.reset();
      require(upstream.outstanding_bytes() == 0, "the pool left something behind");
    }
    turn.arrive_and_wait();
  });  // the threads end with caches of a pool that is gone
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(a_pool_dies_while_threads_that_used_it_end) {
  for (int round = 0; round < 100; ++round) {
    checking_resource upstream;
    std::optional<synchronized_pool_resource> pool(std::in_place, &upstream);
    std::barrier used(4);
    run_threads(4, [&](std::size_t index) {
      use(*pool);
      used.arrive_and_wait();
      if (index == 0) {
        pool.reset();  // at the same time the other threads give their caches back
      }
    });
    BOOST_TEST(upstream.outstanding_bytes() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(a_new_pool_at_the_same_address_never_sees_the_old_ones_caches) {
  checking_resource upstream;
  alignas(synchronized_pool_resource) std::array<std::byte, sizeof(synchronized_pool_resource)> place;
  synchronized_pool_resource* pool = nullptr;
  std::barrier turn(3);
  run_threads(3, [&](std::size_t index) {
    for (int life = 0; life < 50; ++life) {
      if (index == 0) {
        pool = new (place.data()) synchronized_pool_resource(&upstream);
      }
      turn.arrive_and_wait();
      use(*pool);  // an old block would be one that upstream has back: checking_resource or ASan would tell
      turn.arrive_and_wait();
      if (index == 0) {
        pool->check_invariants();
        const pool_statistics s = pool->statistics();
        require(s.upstream_bytes == upstream.outstanding_bytes(), "the new pool holds what it did not get");
        require(counted_operations(s).allocations == 3 * 120, "the new pool counts what the old one did");
        pool->~synchronized_pool_resource();
        require(upstream.outstanding_bytes() == 0, "the pool left something behind");
      }
      turn.arrive_and_wait();
    }
  });
}

BOOST_AUTO_TEST_CASE(release_empties_the_caches_of_every_thread_and_they_go_on) {
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  std::barrier turn(4);
  run_threads(4, [&](std::size_t index) {
    for (int round = 0; round < 50; ++round) {
      use(pool);
      (void)pool.allocate(64);
      turn.arrive_and_wait();
      if (index == 0) {
        pool.release();
        require(upstream.outstanding_bytes() == 0, "release left something behind");
      }
      turn.arrive_and_wait();
    }
  });
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  BOOST_TEST(counted_operations(pool.statistics()).allocations == 4U * 50U * 121U);
}

BOOST_AUTO_TEST_CASE(release_while_threads_that_used_the_pool_end) {
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  for (int round = 0; round < 100; ++round) {
    std::barrier used(4);
    run_threads(4, [&](std::size_t index) {
      use(pool);
      used.arrive_and_wait();
      if (index == 0) {
        pool.release();
        use(pool);
      }
    });
    BOOST_TEST(accounts_fault(pool, upstream) == "");
  }
}

// More pools than the thread table has entries, and than a thread's record starts with.
BOOST_AUTO_TEST_CASE(three_thousand_pools_are_used_in_turn_by_several_threads) {
  constexpr std::size_t pools = 3'000;
  checking_resource upstream;
  std::vector<std::unique_ptr<synchronized_pool_resource>> all;
  for (std::size_t i = 0; i < pools; ++i) {
    all.push_back(std::make_unique<synchronized_pool_resource>(&upstream));
  }
  std::vector<std::array<void*, 3>> blocks(pools);
  std::barrier turn(3);
  run_threads(3, [&](std::size_t index) {
    for (int round = 0; round < 3; ++round) {
      for (std::size_t i = 0; i < pools; ++i) {
        blocks[i][index] = all[i]->allocate(32);
        std::memset(blocks[i][index], static_cast<int>(i), 32);
      }
      turn.arrive_and_wait();
      for (std::size_t i = 0; i < pools; ++i) {
        void* others = blocks[i][(index + 1) % 3];
        require(*static_cast<unsigned char*>(others) == static_cast<unsigned char>(i),
                "blocks of two pools are one");
        all[i]->deallocate(others, 32);
      }
      turn.arrive_and_wait();
    }
    // Half of the pools die while the threads live; new ones take their places.
    if (index == 0) {
      for (std::size_t i = 0; i < pools; i += 2) {
        all[i] = std::make_unique<synchronized_pool_resource>(&upstream);
      }
    }
    turn.arrive_and_wait();
    for (const auto& pool : all) {
      pool->deallocate(pool->allocate(32), 32);
    }
  });
  std::size_t held_bytes = 0;
  for (const auto& pool : all) {
    const pool_statistics s = pool->statistics();
    BOOST_REQUIRE(s.in_use_bytes == 0U);
    BOOST_REQUIRE(s.idle_bytes + s.overhead_bytes == s.upstream_bytes);
    held_bytes += s.upstream_bytes;
  }
  BOOST_TEST(held_bytes == upstream.outstanding_bytes());
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(pools_over_pools)

BOOST_AUTO_TEST_CASE(a_pool_whose_upstream_is_another_synchronized_pool) {
  checking_resource upstream;
  synchronized_pool_resource lower(&upstream);
  {
    checking_resource between(&lower);
    synchronized_pool_resource upper({.max_idle_bytes = 16 * kib}, &between);
    run_threads(4, [&](std::size_t) {
      for (int i = 0; i < 20; ++i) {
        use(upper);
        use(lower);
      }
    });
    BOOST_TEST(accounts_fault(upper, between) == "");
    BOOST_TEST(accounts_fault(lower, upstream) == "");
  }
  BOOST_TEST(lower.statistics().in_use_bytes == 0U);
  lower.trim();
  BOOST_TEST(upstream.outstanding_bytes() <= 64 * kib);
}

// Giving the upper pool's cache back gets to the lower pool, after the thread has given back its cache there
// or has never had one.
BOOST_AUTO_TEST_CASE(ending_threads_leave_nothing_behind_in_a_chain_of_pools) {
  checking_resource upstream;
  std::vector<std::unique_ptr<synchronized_pool_resource>> chain;
  std::pmr::memory_resource* below = &upstream;
  for (int i = 0; i < 8; ++i) {
    chain.push_back(std::make_unique<synchronized_pool_resource>(
        cistern::pool_options{.max_idle_bytes = 4 * kib}, below));
    below = chain.back().get();
  }
  for (int i = 0; i < 100; ++i) {
    run_thread([&] { use(*chain.back()); });
  }
  BOOST_TEST(accounts_fault(*chain.front(), upstream) == "");
  for (auto pool = chain.rbegin(); pool != chain.rend(); ++pool) {
    BOOST_TEST((*pool)->statistics().in_use_bytes == 0U);
    (*pool)->trim();
  }
  BOOST_TEST(upstream.outstanding_bytes() <= 64 * kib);
  while (!chain.empty()) {
    chain.pop_back();
  }
}

BOOST_AUTO_TEST_SUITE_END()
// mimalloc#508, rpmalloc#20, rpmalloc#98, rmm#2367: frees after thread_local or static destructors.
BOOST_AUTO_TEST_SUITE(late_frees)

namespace {
checking_resource* late_upstream = nullptr;
synchronized_pool_resource* late_pool = nullptr;
thread_local void* late_block = nullptr;

void free_late_block() {
  late_pool->deallocate(late_block, 100);
  use(*late_pool);
}
}  // namespace

BOOST_AUTO_TEST_CASE(frees_in_destructors_of_thread_local_objects_made_before_the_pool_was_used) {
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  late_pool = &pool;
  for (int i = 0; i < 20; ++i) {
    run_thread([] {
      thread_local at_thread_exit before_first_use;
      before_first_use.action = free_late_block;
      late_block = late_pool->allocate(100);
    });
  }
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
}

// Keys made before and after the pool's own, so that their destructors run on both sides of it, in every
// round that the system grants them.
BOOST_AUTO_TEST_CASE(frees_in_destructors_of_pthread_keys_leave_no_cache_behind) {
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  late_pool = &pool;
  static std::array<pthread_key_t, 2> keys;
  static thread_local std::array<int, 2> rounds{};
  const auto use_again = [](void* value) {
    const std::size_t which = static_cast<std::size_t>(static_cast<pthread_key_t*>(value) - keys.data());
    use(*late_pool);
    if (++rounds[which] < 4) {
      ::pthread_setspecific(keys[which], value);
    }
  };
  for (pthread_key_t& key : keys) {
    BOOST_REQUIRE(::pthread_key_create(&key, use_again) == 0);
  }
  for (int i = 0; i < 20; ++i) {
    run_thread([] {
      use(*late_pool);
      for (pthread_key_t& key : keys) {
        ::pthread_setspecific(key, &key);
      }
    });
  }
  for (const pthread_key_t key : keys) {
    ::pthread_key_delete(key);
  }
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
}

namespace {

/// Made before the pool it frees into, and so destroyed after it was used, by `exit`.
struct static_user {
  void* block = nullptr;
  ~static_user() {
    if (block != nullptr) {
      late_pool->deallocate(block, 100);
      use(*late_pool);
      late_pool->~synchronized_pool_resource();
      if (late_upstream->outstanding_bytes() != 0) {
        ::_exit(4);
      }
    }
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(frees_in_static_destructors_after_the_main_threads_thread_local_ones) {
  const auto seen = run_and_die([] {
    static static_user last;
    static checking_resource* const upstream = new checking_resource;
    static synchronized_pool_resource* const pool = new synchronized_pool_resource(upstream);
    thread_local at_thread_exit before_first_use;
    late_upstream = upstream;
    late_pool = pool;
    last.block = pool->allocate(100);
    before_first_use.action = free_late_block;
    late_block = pool->allocate(100);
    run_thread([] { use(*late_pool); });
    std::exit(0);
  });
  BOOST_TEST(seen.description == "exited with 0");
  BOOST_TEST(seen.stderr_text.find("checking_resource") == std::string::npos);
}

// A detached thread may outlive every static object, and end while the program does.
BOOST_AUTO_TEST_CASE(a_static_pool_dies_while_threads_that_used_it_still_run) {
  const auto seen = run_and_die([] {
    static std::barrier used(2);
    static synchronized_pool_resource pool;
    std::thread([] {
      use(pool);
      used.arrive_and_wait();
    }).detach();
    used.arrive_and_wait();
    std::exit(0);
  });
  BOOST_TEST(seen.description == "exited with 0");
}

BOOST_AUTO_TEST_SUITE_END()
