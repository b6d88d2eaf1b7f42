// idle_budget: what lies idle stays within max_idle_bytes however it was freed, and makes room for other
// sizes.

#include <cistern/no_limit.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <random>
#include <vector>

#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/threads.hpp"

namespace {

using cistern::testing::checking_resource;
using both_pools =
    boost::mpl::list<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

constexpr std::size_t kib = std::size_t{1} << 10;
constexpr std::size_t mib = std::size_t{1} << 20;
constexpr cistern::pool_options two_mib{.max_idle_bytes = 2 * mib, .thread_cache_bytes = mib / 8};
/// What may stay beyond: a region, what lies in it beside live blocks, and what a thread keeps for itself.
constexpr std::size_t slack_bytes = mib + mib / 8;

/// What is over the bound goes back in steps, as the pool is used: every free of such a block is one.
template <class Pool>
void take_slow_paths(Pool& pool) {
  for (int i = 0; i < 32; ++i) {
    pool.deallocate(pool.allocate(300'000), 300'000);
  }
}

template <class Pool>
std::vector<void*> allocate(Pool& pool, std::size_t total_bytes, std::size_t bytes) {
  std::vector<void*> blocks(total_bytes / bytes);
  std::generate(blocks.begin(), blocks.end(), [&] { return pool.allocate(bytes); });
  std::shuffle(blocks.begin(), blocks.end(), std::mt19937(11));
  return blocks;
}

template <class Pool>
void free_range(Pool& pool, const std::vector<void*>& blocks, std::size_t first, std::size_t last,
                std::size_t bytes) {
  std::for_each(std::next(blocks.begin(), static_cast<std::ptrdiff_t>(first)),
                std::next(blocks.begin(), static_cast<std::ptrdiff_t>(last)),
                [&](void* block) { pool.deallocate(block, bytes); });
}

template <class Pool>
void check_books(const Pool& pool, const checking_resource& upstream) {
  pool.check_invariants();
  const cistern::pool_statistics statistics = pool.statistics();
  BOOST_TEST(statistics.in_use_bytes + statistics.idle_bytes + statistics.overhead_bytes ==
             statistics.upstream_bytes);
  BOOST_TEST(statistics.upstream_bytes == upstream.outstanding_bytes());
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(a_tear_down_in_random_order_leaves_no_more_than_may_be_idle, Pool, both_pools) {
  for (const std::size_t bytes : {40U, 1000U, 20'000U}) {
    checking_resource upstream;
    Pool pool(two_mib, &upstream);
    for (int round = 0; round < 3; ++round) {
      const std::vector<void*> blocks = allocate(pool, 24 * mib, bytes);
      free_range(pool, blocks, 0, blocks.size(), bytes);
      take_slow_paths(pool);
      BOOST_TEST(pool.statistics().idle_bytes <= 2 * mib + slack_bytes);
      check_books(pool, upstream);
    }
  }
}

namespace {

/// 12 MiB and at most a quarter for rounding, and a region begun.
constexpr std::size_t phase_bytes = 16 * mib;
constexpr std::size_t span_bytes = 16 * kib;

/// Blocks of one size after another, all but a few of which are freed; `pause(pool)` comes between them.
/// What is held, but for a span for each survivor, is never more than `most_bytes`.
template <class Pool, class Pause>
void rise_and_fall(std::size_t kept_blocks, std::size_t most_bytes, Pause pause) {
  checking_resource upstream;
  Pool pool(two_mib, &upstream);
  std::size_t pinned_bytes = 0;
  for (const std::size_t bytes : {48U, 100U, 200U, 400U, 800U, 1600U, 3200U, 6400U, 12'800U, 25'600U}) {
    const std::vector<void*> blocks = allocate(pool, 12 * mib, bytes);
    BOOST_TEST(pool.statistics().upstream_bytes <= most_bytes + pinned_bytes);
    free_range(pool, blocks, kept_blocks, blocks.size(), bytes);
    pinned_bytes += kept_blocks * std::max(span_bytes, bytes);
    check_books(pool, upstream);
    pause(pool);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(rise_and_fall_of_one_size_after_another_needs_no_more_each_time, Pool,
                              both_pools) {
  rise_and_fall<Pool>(0, phase_bytes + 2 * mib + slack_bytes, [](const Pool&) {});
}

// The last frees of a size, which nobody has looked at, and its least stay, lie scattered over all of its
// spans and hold them: up to a whole phase, until they are sorted. But never more than one.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_few_survivors_keep_no_more_than_the_phase_before, Pool, both_pools) {
  for (const std::size_t kept_blocks : {1U, 5U}) {
    rise_and_fall<Pool>(kept_blocks, 2 * phase_bytes + slack_bytes, [](const Pool&) {});
  }
}

// Where there are slow paths in between, and the caller empties its cache, they are sorted.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_few_survivors_do_not_keep_the_memory_of_their_size, Pool, both_pools) {
  for (const std::size_t kept_blocks : {1U, 5U}) {
    rise_and_fall<Pool>(kept_blocks, phase_bytes + 2 * mib + slack_bytes, [](Pool& pool) {
      pool.trim(cistern::no_limit);
      for (int i = 0; i < 4; ++i) take_slow_paths(pool);
    });
  }
}

BOOST_AUTO_TEST_CASE(a_lone_thread_sees_its_last_free_and_chunks_begin_anew) {
  checking_resource upstream;
  cistern::synchronized_pool_resource pool(&upstream);
  for (int round = 0; round < 3; ++round) {
    const std::vector<void*> blocks = allocate(pool, 3 * mib, 64);
    free_range(pool, blocks, 0, blocks.size(), 64);
    BOOST_TEST(pool.statistics().buckets.at(0).depth == 0U);  // nothing is on a list
    check_books(pool, upstream);
    const auto* first = static_cast<const std::byte*>(pool.allocate(64));
    auto* second = static_cast<std::byte*>(pool.allocate(64));
    BOOST_TEST(second - first == 64);
    pool.deallocate(second, 64);
    pool.deallocate(second - 64, 64);
  }
}

BOOST_AUTO_TEST_CASE(a_few_live_blocks_do_not_make_every_free_a_slow_one) {
  checking_resource upstream;
  cistern::synchronized_pool_resource pool(&upstream);
  const std::vector<void*> blocks = allocate(pool, 3 * mib, 64);
  free_range(pool, blocks, 0, blocks.size(), 64);
  const auto misses = [&] { return pool.statistics().buckets.at(0).misses; };
  const auto before = misses();
  constexpr int pairs = 1000;
  for (int i = 0; i < pairs; ++i) {
    pool.deallocate(pool.allocate(64), 64);
  }
  BOOST_TEST(misses() - before <= 1U);  // each rewinding would carve again
}

BOOST_AUTO_TEST_CASE(what_several_threads_freed_is_given_back_when_they_end) {
  checking_resource upstream;
  cistern::synchronized_pool_resource pool(two_mib, &upstream);
  const std::vector<void*> blocks = allocate(pool, 24 * mib, 1000);
  constexpr std::size_t threads = 4;
  cistern::test_support::run_threads(threads, [&](std::size_t index) {
    const std::size_t share = blocks.size() / threads;
    const std::size_t last = index + 1 == threads ? blocks.size() : (index + 1) * share;
    free_range(pool, blocks, index * share, last, 1000);
  });
  take_slow_paths(pool);
  BOOST_TEST(pool.statistics().idle_bytes <= 2 * mib + slack_bytes);
  check_books(pool, upstream);
}

BOOST_AUTO_TEST_CASE(a_cache_of_another_thread_does_not_keep_chunks_beyond_the_budget) {
  checking_resource upstream;
  cistern::synchronized_pool_resource pool(two_mib, &upstream);
  const std::vector<void*> blocks = allocate(pool, 24 * mib, 1000);
  const std::size_t half = blocks.size() / 2;
  free_range(pool, blocks, 0, half, 1000);  // this thread's cache holds some from here on
  cistern::test_support::run_thread([&] { free_range(pool, blocks, half, blocks.size(), 1000); });
  take_slow_paths(pool);
  // Each block in this thread's cache may pin a region of up to 4 MiB.
  BOOST_TEST(pool.statistics().upstream_bytes < 20 * mib);
  check_books(pool, upstream);
}
