// Rewinding: a large bucket whose last live block is freed is carved in address order again.

#include <cistern/detail/pool/span.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

namespace {

constexpr std::size_t block_bytes = 64;
constexpr std::size_t blocks = 3 * (std::size_t{256} << 10) / block_bytes;

template <class Pool>
std::vector<void*> allocate_blocks(Pool& pool, std::size_t count) {
  std::vector<void*> allocated(count);
  std::generate(allocated.begin(), allocated.end(), [&] { return pool.allocate(block_bytes); });
  return allocated;
}

template <class Pool>
void free_in_random_order(Pool& pool, std::vector<void*> allocated) {
  std::shuffle(allocated.begin(), allocated.end(), std::mt19937(7));
  for (void* block : allocated) {
    pool.deallocate(block, block_bytes);
  }
}

// How many blocks lie right behind the one allocated before them.
std::size_t adjacent_steps(const std::vector<void*>& allocated) {
  std::size_t steps = 0;
  for (std::size_t i = 1; i < allocated.size(); ++i) {
    steps += static_cast<std::byte*>(allocated[i - 1]) + block_bytes == allocated[i] ? 1U : 0U;
  }
  return steps;
}

template <class Pool>
void check_accounts(const Pool& pool, const cistern::testing::checking_resource& upstream) {
  pool.check_invariants();
  const cistern::pool_statistics statistics = pool.statistics();
  BOOST_TEST(statistics.in_use_bytes + statistics.idle_bytes + statistics.overhead_bytes ==
             statistics.upstream_bytes);
  BOOST_TEST(statistics.upstream_bytes == upstream.outstanding_bytes());
  const cistern::bucket_statistics& row = statistics.buckets.at(0);
  BOOST_TEST(row.hits + row.misses == row.returned + row.discarded + row.live_blocks);
}

}  // namespace

BOOST_AUTO_TEST_CASE(after_a_random_tear_down_blocks_come_in_address_order) {
  cistern::testing::checking_resource upstream;
  cistern::unsynchronized_pool_resource pool(&upstream);
  for (int round = 0; round < 3; ++round) {
    std::vector<void*> allocated = allocate_blocks(pool, blocks);
    BOOST_TEST(adjacent_steps(allocated) > blocks - 100);  // all but one at the end of each chunk
    check_accounts(pool, upstream);
    free_in_random_order(pool, std::move(allocated));
    check_accounts(pool, upstream);
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
    BOOST_TEST(pool.statistics().buckets.at(0).depth == 0U);
  }
}

BOOST_AUTO_TEST_CASE(the_same_chunks_serve_again) {
  cistern::testing::checking_resource upstream;
  cistern::unsynchronized_pool_resource pool(&upstream);
  free_in_random_order(pool, allocate_blocks(pool, blocks));
  const auto calls = pool.statistics().upstream_allocations;
  free_in_random_order(pool, allocate_blocks(pool, blocks));
  BOOST_TEST(pool.statistics().upstream_allocations == calls);
}

BOOST_AUTO_TEST_CASE(one_live_block_keeps_the_list) {
  cistern::testing::checking_resource upstream;
  cistern::unsynchronized_pool_resource pool(&upstream);
  std::vector<void*> allocated = allocate_blocks(pool, blocks);
  void* last = allocated.back();
  allocated.pop_back();
  free_in_random_order(pool, std::move(allocated));
  // A batch of up to 64 blocks may have been more than was asked for.
  BOOST_TEST(pool.statistics().buckets.at(0).depth >= blocks - 1);
  BOOST_TEST(pool.statistics().buckets.at(0).depth < blocks - 1 + 64);
  pool.deallocate(last, block_bytes);
  BOOST_TEST(pool.statistics().buckets.at(0).depth == 0U);
  check_accounts(pool, upstream);
}

BOOST_AUTO_TEST_CASE(a_small_bucket_keeps_its_list) {
  cistern::testing::checking_resource upstream;
  cistern::unsynchronized_pool_resource pool(&upstream);
  constexpr std::size_t few = 100;
  free_in_random_order(pool, allocate_blocks(pool, few));
  BOOST_TEST(pool.statistics().buckets.at(0).depth >= few);
  BOOST_TEST(pool.statistics().buckets.at(0).depth < few + 64);
}

BOOST_AUTO_TEST_CASE(a_single_live_block_does_not_rewind_each_time_it_is_freed) {
  cistern::testing::checking_resource upstream;
  cistern::unsynchronized_pool_resource pool(&upstream);
  free_in_random_order(pool, allocate_blocks(pool, blocks));
  const auto misses = pool.statistics().buckets.at(0).misses;
  for (int i = 0; i < 1000; ++i) {
    pool.deallocate(pool.allocate(block_bytes), block_bytes);
  }
  BOOST_TEST(pool.statistics().buckets.at(0).misses == misses + 1);
}

BOOST_AUTO_TEST_CASE(trim_gives_back_rewound_chunks_with_and_without_live_blocks) {
  cistern::testing::checking_resource upstream;
  cistern::unsynchronized_pool_resource pool(&upstream);
  free_in_random_order(pool, allocate_blocks(pool, blocks));
  const std::size_t half = upstream.outstanding_bytes() / 2;
  pool.trim(half);
  check_accounts(pool, upstream);
  BOOST_TEST(pool.statistics().idle_bytes <= half);
  BOOST_TEST(pool.statistics().idle_bytes > 0U);

  const std::vector<void*> live = allocate_blocks(pool, 10);
  pool.trim();
  check_accounts(pool, upstream);
  BOOST_TEST(pool.statistics().buckets.at(0).live_blocks == live.size());
  free_in_random_order(pool, live);
  pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(release_with_rewound_chunks_gives_all_back) {
  cistern::testing::checking_resource upstream;
  cistern::unsynchronized_pool_resource pool(&upstream);
  free_in_random_order(pool, allocate_blocks(pool, blocks));
  (void)allocate_blocks(pool, 10);
  pool.release();
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
  free_in_random_order(pool, allocate_blocks(pool, blocks));
  pool.check_invariants();
  BOOST_TEST(pool.statistics().upstream_bytes == upstream.outstanding_bytes());
}

BOOST_AUTO_TEST_CASE(rewound_memory_counts_as_idle_and_obeys_max_idle_bytes) {
  cistern::testing::checking_resource upstream;
  constexpr std::size_t max_idle_bytes = std::size_t{512} << 10;
  cistern::unsynchronized_pool_resource pool({.max_idle_bytes = max_idle_bytes}, &upstream);
  for (int round = 0; round < 5; ++round) {
    free_in_random_order(pool, allocate_blocks(pool, 4 * blocks));
    for (int i = 0; i < 10'000; ++i) pool.deallocate(pool.allocate(block_bytes), block_bytes);  // in steps
    BOOST_TEST(pool.statistics().idle_bytes <= max_idle_bytes);
    check_accounts(pool, upstream);
  }
}

BOOST_AUTO_TEST_CASE(zero_on_free_pools_rewind_too) {
  cistern::testing::checking_resource upstream;
  cistern::unsynchronized_pool_resource pool({.zero_on_free = true}, &upstream);
  std::vector<void*> secrets = allocate_blocks(pool, blocks);
  for (void* block : secrets) {
    std::memset(block, 42, block_bytes);
  }
  free_in_random_order(pool, std::move(secrets));
  BOOST_TEST(pool.statistics().buckets.at(0).depth == 0U);
  constexpr std::size_t link_bytes = 2 * sizeof(void*);  // what a free list writes into a free block
  for (void* block : allocate_blocks(pool, blocks)) {
    const auto* bytes = static_cast<const unsigned char*>(block);
    BOOST_TEST_REQUIRE(std::count(bytes + link_bytes, bytes + block_bytes, 42) < 8);
    pool.deallocate(block, block_bytes);
  }
}

BOOST_AUTO_TEST_CASE(a_synchronized_pool_rewinds_when_the_threads_have_ended) {
  cistern::testing::checking_resource upstream;
  cistern::synchronized_pool_resource pool(&upstream);
  for (int round = 0; round < 3; ++round) {
    std::thread([&] { free_in_random_order(pool, allocate_blocks(pool, blocks)); }).join();
    check_accounts(pool, upstream);
    BOOST_TEST(pool.statistics().buckets.at(0).depth == 0U);
  }
  pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
}
