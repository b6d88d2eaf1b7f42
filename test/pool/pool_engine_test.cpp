// The engine by itself: what synchronized_pool_resource and malloc's heap share. Plan: fast paths say null
// and false until this thread has a cache; null and not an exception without memory, also over a source of
// pages; exceptions of upstream pass; zeroed blocks, also where another one shrank; visits to the depot; a
// thread's end; release; blocks that change hands.
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/pool_engine.hpp>
#include <cistern/detail/pool/unpooled_blocks.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <array>
#include <barrier>
#include <cstring>
#include <new>
#include <random>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/pool_parts.hpp"
#include "../support/threads.hpp"

using cistern::pool_options;
using cistern::pool_statistics;
using cistern::detail::cached_class_count;
using cistern::detail::class_block_bytes;
using cistern::detail::class_of;
using cistern::detail::place_of;
using cistern::detail::pool_engine;
using cistern::detail::small_class_count;
using cistern::detail::upstream_account;
using cistern::test_support::bucket_of;
using cistern::test_support::effective;
using cistern::test_support::page_source;
using cistern::test_support::pool_ground;
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;
using cistern::testing::checking_resource;

namespace {

constexpr unsigned class_64 = class_of(63);
constexpr unsigned class_run = class_of((std::size_t{512} << 10) - 1);

struct fixture : pool_ground {
  explicit fixture(const pool_options& asked = {}) : pool_ground(asked) {}
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;
  ~fixture() = default;

  void* allocate(unsigned index) {
    void* block = index < small_class_count    ? engine.try_pop(place_of(index))
                  : index < cached_class_count ? engine.try_pop_large(index)
                                               : nullptr;
    return block != nullptr ? block : engine.try_allocate(index);
  }
  void deallocate(unsigned index, void* block) {
    const bool taken = index < small_class_count    ? engine.try_push(place_of(index), block)
                       : index < cached_class_count ? engine.try_push_large(index, block)
                                                    : false;
    if (!taken) engine.deallocate(index, block);
  }
  [[nodiscard]] pool_statistics statistics() const {
    pool_statistics s;
    engine.add_to(s);
    account.add_to(s);
    return s;
  }

  pool_engine engine{options, account, nullptr};
};

}  // namespace

BOOST_AUTO_TEST_CASE(fast_paths_wait_for_a_cache) {
  fixture f;
  // A pool of short life is served without one.
  for (int request = 0; request < 16; ++request) {
    BOOST_TEST(f.engine.try_pop(place_of(class_64)) == nullptr);
    void* const early = f.engine.try_allocate(class_64);
    BOOST_REQUIRE(early != nullptr);
    BOOST_TEST(f.engine.known_cache() == nullptr);
    BOOST_TEST(!f.engine.try_push(place_of(class_64), early));
    f.engine.deallocate(class_64, early);
  }
  void* const block = f.engine.try_allocate(class_64);
  BOOST_REQUIRE(block != nullptr);
  BOOST_TEST(f.engine.known_cache() != nullptr);
  BOOST_TEST(f.engine.try_push(place_of(class_64), block));
  BOOST_TEST(f.engine.try_pop(place_of(class_64)) == block);
  run_thread([&] {  // another thread has none yet
    cistern::test_support::require(f.engine.try_pop(place_of(class_64)) == nullptr, "no cache, no block");
    cistern::test_support::require(!f.engine.try_push(place_of(class_64), block), "no cache, no room");
  });
  f.deallocate(class_64, block);
}

BOOST_AUTO_TEST_CASE(null_where_the_limit_refuses) {
  fixture f({.max_bytes = std::size_t{64} << 10});
  std::vector<void*> live;
  while (void* block = f.allocate(class_64)) live.push_back(block);
  BOOST_TEST(live.size() > 100U);
  BOOST_TEST(cistern::test_support::accounts_fault(f.statistics(), f.upstream) == "");
  for (void* block : live) f.deallocate(class_64, block);
  BOOST_TEST(f.allocate(class_64) != nullptr);
}

BOOST_AUTO_TEST_CASE(null_where_a_source_of_pages_refuses) {
  page_source source;
  source.refuse = true;
  {
    const pool_options options = effective({});
    upstream_account account(source);
    pool_engine engine(options, account, nullptr);
    BOOST_TEST(engine.try_allocate(class_64) == nullptr);
    BOOST_TEST(engine.try_allocate_zeroed_run(class_run, 100) == nullptr);
    source.refuse = false;
    void* const block = engine.try_allocate(class_64);
    BOOST_TEST(block != nullptr);
    engine.deallocate(class_64, block);
  }
  BOOST_TEST(source.outstanding_bytes == 0U);
}

BOOST_AUTO_TEST_CASE(what_upstream_throws_passes_and_changes_nothing) {
  checking_resource checked;
  cistern::testing::failing_resource failing(&checked);
  const pool_options options = effective({});
  upstream_account account(&failing, options.max_bytes);
  pool_engine engine(options, account, nullptr);
  const auto failures = cistern::testing::fail_every_allocation(
      failing,
      [&] {
        std::vector<void*> blocks;
        try {
          for (const unsigned index : {class_64, class_run, class_of(1000)})
            blocks.push_back(engine.try_allocate(index));
        } catch (...) {
          const unsigned indices[] = {class_64, class_run, class_of(1000)};
          for (std::size_t i = 0; i < blocks.size(); ++i) engine.deallocate(indices[i], blocks[i]);
          engine.release();
          BOOST_TEST(account.bytes() == 0U);
          throw;
        }
        engine.release();
      },
      {.mode = cistern::testing::failure_mode::from_then_on});
  BOOST_TEST(failures.failed_runs > 0U);
}

BOOST_AUTO_TEST_CASE(zeroed_blocks_are_zero_whatever_they_held) {
  fixture f;
  for (int round = 0; round < 3; ++round) {
    page_source source;
    upstream_account account(source);
    pool_engine engine(f.options, account, nullptr);
    for (int use = 0; use < 2; ++use) {  // fresh pages first, then used ones
      // As much of it as was asked for.
      const std::size_t bytes = class_block_bytes(class_run) - 1000;
      auto* const block = static_cast<unsigned char*>(engine.try_allocate_zeroed_run(class_run, bytes));
      BOOST_TEST(std::all_of(block, block + bytes, [](unsigned char c) { return c == 0; }));
      std::memset(block, 0xff, class_block_bytes(class_run));
      engine.deallocate(class_run, block);
    }
  }
}

BOOST_AUTO_TEST_CASE(zeros_are_written_behind_a_block_that_shrank_as_well) {
  page_source source;
  const pool_options options = effective({});
  upstream_account account(source);
  pool_engine engine(options, account, nullptr);
  constexpr unsigned class_larger = class_of((std::size_t{1} << 20) - 1);
  auto* const block = static_cast<unsigned char*>(engine.try_allocate_zeroed_run(class_larger, 1 << 20));
  std::memset(block, 0xff, 1 << 20);
  BOOST_TEST(engine.try_resize_run(class_larger, block, class_run));
  const std::size_t bytes = class_block_bytes(class_run);
  auto* const behind = static_cast<unsigned char*>(engine.try_allocate_zeroed_run(class_run, bytes));
  BOOST_TEST(behind == block + bytes);
  BOOST_TEST(std::all_of(behind, behind + bytes, [](unsigned char c) { return c == 0; }));
  engine.deallocate(class_run, behind);
  engine.deallocate(class_run, block);
  engine.check_invariants();
}

namespace {

/// Visits to the depot in each 1,000 operations of a thread that replaces random ones of `count` blocks,
/// after it has done so for a while.
// Visits to the depot, by whomever, while this thread replaces so many times one of `count` blocks, after as
// many times before.
std::uint64_t visits_of_replacing(fixture& f, std::size_t operations, std::size_t count,
                                  std::size_t least_bytes, std::size_t most_bytes, std::uint64_t seed = 7) {
  std::mt19937_64 random(seed);
  std::vector<std::pair<unsigned, void*>> live(count);
  const auto replace = [&](std::size_t times) {
    for (std::size_t i = 0; i < times; ++i) {
      auto& [index, block] = live[random() % count];
      if (block != nullptr) f.deallocate(index, block);
      index = class_of(least_bytes + random() % (most_bytes - least_bytes + 1) - 1);
      block = f.allocate(index);
    }
  };
  replace(operations);
  const std::uint64_t before = f.engine.depot_visits();
  replace(operations);
  const std::uint64_t visits = f.engine.depot_visits() - before;
  for (const auto& [index, block] : live) {
    if (block != nullptr) f.deallocate(index, block);
  }
  return visits;
}

double visits_per_1000(std::size_t count, std::size_t least_bytes, std::size_t most_bytes,
                       std::uint64_t seed = 7) {
  constexpr std::size_t operations = 200'000;  // an allocation and a free each
  fixture f;
  const std::uint64_t visits = visits_of_replacing(f, operations, count, least_bytes, most_bytes, seed);
  return static_cast<double>(visits) * 1000 / operations;
}

}  // namespace

// What a magazine is for, in figures: a visit is a lock, and on many threads a wait.
BOOST_AUTO_TEST_CASE(a_thread_on_its_own_seldom_visits_the_depot) {
  BOOST_TEST(visits_per_1000(1000, 8, 4096) <= 1.0);
  // Which classes get room is a matter of chance.
  double sum = 0;
  for (const std::uint64_t seed : {1U, 4U, 7U, 11U}) sum += visits_per_1000(500, 16, 32 << 10, seed);
  BOOST_TEST_MESSAGE(sum / 4 << " visits for 500 blocks of up to 32 KiB");
  BOOST_TEST(sum / 4 <= 5.0);
  BOOST_TEST(visits_per_1000(32, 64 << 10, 64 << 10) <= 1.0);
  // More than a cache may have: a magazine at once goes, not every block that is freed.
  const double of_large = visits_per_1000(100, 1 << 10, 256 << 10);
  BOOST_TEST_MESSAGE(of_large << " visits for 100 blocks of up to 256 KiB");
  BOOST_TEST(of_large <= 100.0);
}

// The same for one that takes nine and gives them all back, again and again.
BOOST_AUTO_TEST_CASE(a_thread_that_gives_all_back_seldom_visits_the_depot) {
  for (const std::size_t bytes : {64U, 4096U, 32U << 10, 64U << 10}) {
    fixture f;
    const unsigned index = class_of(bytes - 1);
    const auto cycles = [&](int times) {
      for (int i = 0; i < times; ++i) {
        std::array<void*, 9> blocks{};
        for (void*& block : blocks) block = f.allocate(index);
        for (void* block : blocks) f.deallocate(index, block);
      }
    };
    cycles(100);
    const std::uint64_t before = f.engine.depot_visits();
    cycles(1000);
    BOOST_TEST(f.engine.depot_visits() - before <= 9U, "of " << bytes << " bytes");
  }
}

BOOST_AUTO_TEST_CASE(a_threads_cache_comes_back_at_its_end) {
  fixture f;
  run_thread([&] {
    std::vector<void*> blocks(200);
    for (void*& block : blocks) block = f.allocate(class_64);
    for (void* block : blocks) f.deallocate(class_64, block);
  });
  f.engine.trim(0);
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(release_takes_caches_and_live_blocks) {
  fixture f;
  for (int i = 0; i < 100; ++i) (void)f.allocate(class_64);
  (void)f.allocate(class_run);
  run_thread([&] { (void)f.allocate(class_64); });
  f.engine.release();
  BOOST_TEST(f.account.bytes() == 0U);
  BOOST_TEST(f.engine.try_pop(place_of(class_64)) == nullptr);  // of the old cache nothing is found
  void* const block = f.allocate(class_64);
  f.deallocate(class_64, block);
  BOOST_TEST(bucket_of(f.statistics(), 64).live_blocks == 0U);
}

// What idle threads have in their caches stays there; but sixteen can't have all that there is, in whatever
// order they came. Some thirty-five can, if each has come and gone idle before the next.
BOOST_AUTO_TEST_CASE(a_thread_that_comes_late_has_a_cache_too) {
  for (const std::size_t idle_threads : {4U, 16U}) {
    BOOST_TEST_CONTEXT(idle_threads << " idle threads") {
      fixture f;
      std::barrier<> all_have_used_much(static_cast<std::ptrdiff_t>(idle_threads) + 1);
      std::barrier<> all_may_end(static_cast<std::ptrdiff_t>(idle_threads) + 1);
      run_threads(idle_threads + 1, [&](std::size_t thread) {
        std::mt19937_64 random(thread);
        if (thread != 0) {
          for (int round = 0; round < 4; ++round) {
            std::vector<std::pair<unsigned, void*>> blocks(1500);
            for (auto& [index, block] : blocks) {
              index = class_of(8 + random() % 6000);
              block = f.allocate(index);
            }
            for (const auto& [index, block] : blocks) f.deallocate(index, block);
          }
          all_have_used_much.arrive_and_wait();
          all_may_end.arrive_and_wait();
          return;
        }
        all_have_used_much.arrive_and_wait();
        BOOST_TEST(visits_of_replacing(f, 20'000, 1000, 8, 507) < 20'000U / 50);
        all_may_end.arrive_and_wait();
      });
    }
  }
}

// Blocks that share a cache line with others go back together, and serve nobody here.
BOOST_AUTO_TEST_CASE(who_only_frees_small_blocks_gives_them_away_together) {
  if (cistern::detail::hardened_build) return;
  fixture f;
  constexpr std::size_t count = 3200;
  constexpr unsigned class_32 = class_of(31);
  std::vector<void*> blocks(count);
  for (void*& block : blocks) block = f.allocate(class_32);
  run_thread([&] {
    for (int i = 0; i < 100; ++i) f.deallocate(class_64, f.allocate(class_64));  // so that it has a cache
    const std::uint64_t before = f.engine.depot_visits();
    for (void* block : blocks) f.deallocate(class_32, block);
    BOOST_TEST(f.engine.depot_visits() - before <= count / 32 + 1);
    void* const own = f.allocate(class_32);  // of what the depot has
    f.deallocate(class_32, own);
  });
  BOOST_TEST(bucket_of(f.statistics(), 32).live_blocks == 0U);
  f.engine.check_invariants();
}

BOOST_AUTO_TEST_CASE(blocks_go_from_thread_to_thread) {
  fixture f;
  std::vector<void*> blocks(1000);
  for (void*& block : blocks) block = f.allocate(class_64);
  run_threads(4, [&](std::size_t thread) {
    for (std::size_t i = thread; i < blocks.size(); i += 4) f.deallocate(class_64, blocks[i]);
  });
  BOOST_TEST(bucket_of(f.statistics(), 64).live_blocks == 0U);
  f.engine.check_invariants();
}
