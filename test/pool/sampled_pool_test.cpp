// Pools with a sampled guard: one allocation in N is guarded, all others are the pool's as ever; misuse of a
// guarded one is told.
#include <cistern/detail/base/asan.hpp>
#include <cistern/no_limit.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <new>
#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/conformance.hpp"
#include "../support/death.hpp"
#include "../support/environment_variable.hpp"
#include "../support/forking.hpp"
#include "../support/sanitizers.hpp"
#include "../support/threads.hpp"

using cistern::pool_options;
using cistern::synchronized_pool_resource;
using cistern::unsynchronized_pool_resource;
using cistern::test_support::dies_of;
using cistern::test_support::environment_variable;
using cistern::testing::checking_resource;

namespace {

using both_pools = std::tuple<synchronized_pool_resource, unsynchronized_pool_resource>;

constexpr std::size_t slots = 128;

template <class Pool, std::size_t OneIn>
struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = std::is_same_v<Pool, synchronized_pool_resource>;
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<Pool>(pool_options{.sample_guard = OneIn},
                                  cistern::test_support::asked_once(upstream));
  }
};

void write_to(volatile char* where) {
  *where = 1;
}

/// Each pool is tried as a program calls it, and as containers do.
void* allocate_virtually(std::pmr::memory_resource& pool, std::size_t bytes, std::size_t alignment = 16) {
  return pool.allocate(bytes, alignment);
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(it_is_off_unless_asked_for, Pool, both_pools) {
  const environment_variable off("CISTERN_SAMPLE_GUARD", nullptr);
  Pool pool;
  for (int i = 0; i < 100; ++i) pool.deallocate(pool.allocate(10), 10);
  BOOST_TEST(pool.options().sample_guard == 0u);
  BOOST_TEST((pool.statistics().guarded == cistern::sampling_guard_statistics{}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(under_a_memory_checker_there_is_none, Pool, both_pools) {
  Pool pool({.sample_guard = 1});
  pool.deallocate(pool.allocate(10), 10);
  BOOST_TEST((pool.statistics().guarded.sampled == 0u) == cistern::detail::asan_build);
}

BOOST_AUTO_TEST_SUITE(guarded, *boost::unit_test::enable_if<!cistern::detail::asan_build>())

BOOST_AUTO_TEST_CASE_TEMPLATE(the_environment_switches_it_on, Pool, both_pools) {
  const environment_variable on("CISTERN_SAMPLE_GUARD", "1");
  Pool pool;
  for (int i = 0; i < 100; ++i) pool.deallocate(pool.allocate(10), 10);
  BOOST_TEST(pool.options().sample_guard == 1u);
  BOOST_TEST(pool.statistics().guarded.sampled == 100u);
  Pool told_otherwise({.sample_guard = 2});
  BOOST_TEST(told_otherwise.options().sample_guard == 2u);
  Pool never({.sample_guard = cistern::no_limit});
  BOOST_TEST(never.statistics().guarded.slots == 0u);
  Pool passing_through({.pass_through = true});
  BOOST_TEST(passing_through.options().sample_guard == 0u);
}

// ThreadSanitizer would take a minute, and sees the same in other cases.
BOOST_AUTO_TEST_CASE(conforms, *boost::unit_test::enable_if<!cistern::test_support::thread_sanitizer>()) {
  cistern::test_support::require_conformance<subject<synchronized_pool_resource, 3>>();
  cistern::test_support::require_conformance<subject<unsynchronized_pool_resource, 3>>();
  cistern::test_support::require_conformance<subject<synchronized_pool_resource, 1000>>();
  cistern::test_support::require_conformance<subject<unsynchronized_pool_resource, 1000>>();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(one_in_n_is_guarded, Pool, both_pools) {
  Pool pool({.sample_guard = 10});
  constexpr std::size_t requests = 20'000;
  for (std::size_t i = 0; i < requests / 2; ++i) {
    pool.deallocate(pool.allocate(100, 4), 100, 4);
    void* const block = allocate_virtually(pool, 2'000);
    pool.deallocate(block, 2'000, 16);
  }
  const auto statistics = pool.statistics();
  // From half of N to one and a half lie between two.
  BOOST_TEST(statistics.guarded.sampled > requests / 15 - 2);
  BOOST_TEST(statistics.guarded.sampled < requests / 5 + 2);
  BOOST_TEST(statistics.guarded.slots_in_use == 0u);
  std::uint64_t pooled = 0;
  for (const auto& bucket : statistics.buckets) pooled += bucket.hits + bucket.misses;
  BOOST_TEST(pooled + statistics.guarded.sampled == requests);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(what_cannot_be_guarded_is_pooled, Pool, both_pools) {
  checking_resource upstream;
  Pool pool({.sample_guard = 1}, &upstream);
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (std::size_t i = 0; i < slots + 10; ++i) blocks.emplace_back(pool.allocate(i), i);
  BOOST_TEST(pool.statistics().guarded.slots_in_use == slots);
  BOOST_TEST(pool.statistics().guarded.no_slot == 10u);
  BOOST_TEST(pool.statistics().in_use_bytes != 0u);
  for (const std::size_t bytes : {std::size_t{5'000}, std::size_t{100'000}, std::size_t{50} << 20}) {
    blocks.emplace_back(pool.allocate(bytes), bytes);
  }
  BOOST_TEST(pool.statistics().guarded.too_large == 3u);
  for (const auto& [block, bytes] : blocks) {
    std::memset(block, 7, bytes);
    pool.deallocate(block, bytes);
  }
  BOOST_TEST(pool.statistics().in_use_bytes == 0u);
  BOOST_TEST(pool.trim() != 0u);
  BOOST_TEST(pool.statistics().guarded.slots_quarantined == slots);
  pool.check_invariants();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_grant_is_what_was_asked_for, Pool, both_pools) {
  Pool pool({.sample_guard = 1});
  const auto granted = pool.allocate_at_least(41);
  BOOST_TEST(granted.bytes == 41u);
  std::memset(granted.ptr, 1, granted.bytes);
  pool.deallocate(granted.ptr, granted.bytes);
  const auto large = pool.allocate_at_least(4'097);
  BOOST_TEST(large.bytes >= 4'097u);
  pool.deallocate(large.ptr, large.bytes);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(misuse_of_a_guarded_block_is_told, Pool, both_pools) {
  const auto with_block = [](auto misuse) {
    return [misuse] {
      Pool pool({.sample_guard = 1});
      misuse(pool, static_cast<char*>(pool.allocate(40, 8)));
    };
  };
  BOOST_TEST(dies_of("killed by signal 11", "overflow by 1 byte, ",
                     with_block([](auto&, char* block) { write_to(block + 40); })));
  BOOST_TEST(
      dies_of("killed by signal 11", "use after free, at byte 39, ", with_block([](auto& pool, char* block) {
                pool.deallocate(block, 40, 8);
                write_to(block + 39);
              })));
  BOOST_TEST(
      dies_of("killed by signal 11", "use after free, at byte 0, ", with_block([](auto& pool, char* block) {
                pool.release();
                write_to(block);
              })));
  BOOST_TEST(dies_of("aborted", "double free: block ", with_block([](auto& pool, char* block) {
                       pool.deallocate(block, 40, 8);
                       pool.deallocate(block, 40, 8);
                     })));
  BOOST_TEST(dies_of("aborted", "free with the wrong size, 41 bytes: block ",
                     with_block([](auto& pool, char* block) { pool.deallocate(block, 41, 8); })));
  BOOST_TEST(dies_of("aborted", "at offset 8: block ",
                     with_block([](auto& pool, char* block) { pool.deallocate(block + 8, 40, 8); })));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(live_guarded_blocks_end_by_release_and_with_the_pool, Pool, both_pools) {
  checking_resource upstream;
  {
    Pool pool({.sample_guard = 2}, &upstream);
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < 100; ++i) std::memset(pool.allocate(100), i, 100);
      pool.release();
      BOOST_TEST(pool.statistics().guarded.slots_in_use == 0u);
      BOOST_TEST(upstream.outstanding_blocks() == 0u);
    }
    for (int i = 0; i < 100; ++i) std::memset(pool.allocate(100), i, 100);
  }
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(failures_of_upstream_are_passed_on, Pool, both_pools) {
  cistern::testing::failing_resource upstream;
  Pool pool({.sample_guard = 1}, &upstream);
  void* const guarded = pool.allocate(8);
  upstream.fail_nth(1);
  BOOST_CHECK_THROW((void)pool.allocate(std::size_t{64} << 20), std::bad_alloc);
  const volatile std::size_t impossible = SIZE_MAX;  // volatile: g++ warns of what it sees
  BOOST_CHECK_THROW((void)pool.allocate(impossible), std::bad_alloc);
  pool.deallocate(guarded, 8);
  pool.deallocate(pool.allocate(8), 8);
}

BOOST_AUTO_TEST_CASE(threads_free_each_other_s_blocks) {
  checking_resource upstream;
  {
    synchronized_pool_resource pool({.sample_guard = 4}, &upstream);
    std::vector<std::atomic<void*>> exchange(64);
    cistern::test_support::run_threads(4, [&](std::size_t index) {
      std::mt19937 random(static_cast<unsigned>(index));
      for (int i = 0; i < 5'000; ++i) {
        void* const mine = pool.allocate(48);
        std::memset(mine, 0x11, 48);
        void* const found = exchange[random() % exchange.size()].exchange(mine);
        if (found != nullptr) pool.deallocate(found, 48);
      }
    });
    for (auto& each : exchange) {
      if (void* const block = each.load(); block != nullptr) pool.deallocate(block, 48);
    }
    BOOST_TEST(pool.statistics().guarded.slots_in_use == 0u);
    BOOST_TEST(pool.statistics().in_use_bytes == 0u);
    BOOST_TEST(pool.statistics().guarded.sampled > 2'500u);
  }
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_child_of_a_fork_frees_what_its_parent_allocated, Pool, both_pools) {
  Pool pool({.sample_guard = 1});
  void* const block = pool.allocate(48);
  BOOST_TEST(cistern::test_support::fork_fault([&] {
               pool.deallocate(block, 48);
               pool.deallocate(pool.allocate(48), 48);
             }) == "");
  pool.deallocate(block, 48);
}

BOOST_AUTO_TEST_SUITE_END()
