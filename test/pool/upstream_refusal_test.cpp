// An upstream that says std::bad_alloc is treated like max_bytes: less is asked for, down to one block; then
// what is idle goes back, the caller's cache included, and upstream is asked again; only then is it thrown
// on. Plan: a full limit below and memory idle as another size; a fixed arena is used up to its last part;
// oversize; null mode; other exceptions pass at once; a refusal changes nothing.
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <memory_resource>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/throwing_resource.hpp"

using cistern::limit_adaptor;
using cistern::testing::checking_resource;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = kib * kib;

/// As many blocks as there is memory for.
template <class Pool>
std::vector<void*> allocate_all(Pool& pool, std::size_t bytes) {
  std::vector<void*> blocks;
  try {
    for (;;) blocks.push_back(pool.allocate(bytes, 8));
  } catch (const std::bad_alloc&) {
  }
  return blocks;
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(memory_idle_as_one_size_serves_another_under_a_full_limit, Pool, pools) {
  checking_resource checked;
  limit_adaptor limit(4 * mib, &checked);
  Pool pool(&limit);
  for (const auto& [first, second] :
       {std::pair<std::size_t, std::size_t>{64, kib}, {kib, 64}, {300 * kib, 4000}}) {
    const std::vector<void*> before = allocate_all(pool, first);
    // Regions that were cut for small blocks have no more room for large ones than whole multiples.
    const bool in_old_regions = first > 32 * kib;
    BOOST_TEST(before.size() * Pool::good_size(first) >= 4 * mib * (in_old_regions ? 6 : 8) / 10);
    deallocate_all(pool, before, first, 8);
    const std::vector<void*> after = allocate_all(pool, second);
    BOOST_TEST(after.size() * second >= 4 * mib * 9 / 10);
    BOOST_TEST(fault_in(pool, checked) == "");
    deallocate_all(pool, after, second, 8);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_fixed_arena_is_used_up, Pool, pools) {
  for (const std::size_t arena_bytes : {64 * kib, 256 * kib, mib}) {
    for (const std::size_t block_bytes : {std::size_t{64}, std::size_t{256}, std::size_t{1000}}) {
      std::vector<std::byte> arena(arena_bytes);
      std::pmr::monotonic_buffer_resource bump(arena.data(), arena.size(), std::pmr::null_memory_resource());
      Pool pool(&bump);
      const std::vector<void*> blocks = allocate_all(pool, block_bytes);
      BOOST_TEST_CONTEXT(arena_bytes << " bytes of " << block_bytes) {
        // Small regions lose most of a page each to the alignment, and a thread's cache takes 4 KiB.
        BOOST_TEST(blocks.size() * Pool::good_size(block_bytes) >= arena_bytes * 65 / 100);
      }
      deallocate_all(pool, blocks, block_bytes, 8);
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(an_oversize_request_gets_what_lies_idle, Pool, pools) {
  for (const std::size_t bound : {std::size_t{0}, 64 * kib}) {
    checking_resource checked;
    limit_adaptor limit(4 * mib, &checked);
    Pool pool({.largest_required_pool_block = bound}, &limit);
    deallocate_all(pool, allocate_all(pool, 64), 64, 8);
    void* const large = pool.allocate(3 * mib, 8);
    BOOST_TEST(fault_in(pool, checked) == "");
    pool.deallocate(large, 3 * mib, 8);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_refusal_changes_nothing, Pool, pools) {
  checking_resource checked;
  limit_adaptor limit(mib, &checked);
  Pool pool(&limit);
  const std::vector<void*> live = allocate_all(pool, 1000);
  const auto before = pool.statistics();
  BOOST_CHECK_THROW((void)pool.allocate(1000, 8), std::bad_alloc);
  BOOST_CHECK_THROW((void)pool.allocate(100 * kib, 8), std::bad_alloc);
  BOOST_CHECK_THROW((void)pool.allocate(64 * mib, 8), std::bad_alloc);
  const auto after = pool.statistics();
  BOOST_TEST(after.in_use_bytes == before.in_use_bytes);
  BOOST_TEST(after.upstream_bytes == before.upstream_bytes);
  BOOST_TEST(fault_in(pool, checked) == "");
  deallocate_all(pool, live, 1000, 8);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(where_nothing_lies_idle_upstream_is_not_asked_for_the_same_again, Pool, pools) {
  limit_adaptor limit(1, nullptr);
  Pool pool({.thread_cache_bytes = 0}, &limit);
  BOOST_CHECK_THROW((void)pool.allocate(300 * kib, 8), std::bad_alloc);
  BOOST_TEST(limit.refusals() == 1U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(other_exceptions_pass_at_once, Pool, pools) {
  checking_resource checked;
  throwing_resource upstream(1, &checked);  // the first chunk comes
  Pool pool({.thread_cache_bytes = 0}, &upstream);
  pool.deallocate(pool.allocate(64, 8), 64, 8);
  const std::size_t idle_bytes = pool.statistics().idle_bytes;
  BOOST_CHECK_THROW((void)pool.allocate(100 * kib, 8), unusual_error);  // which the first one can't hold
  BOOST_TEST(pool.statistics().idle_bytes == idle_bytes);               // nothing was given back for its sake
  BOOST_TEST(fault_in(pool, checked) == "");
}
