// Null mode: by option or environment, a pool hands each request to upstream as it is, under the same rules.
#include <cistern/bad_allocation.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/environment_variable.hpp"
#include "../support/pool_checks.hpp"

using cistern::pool_options;
using cistern::testing::checking_resource;
using cistern::testing::memory_error;
using cistern::testing::memory_fault;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

namespace {

constexpr std::size_t kib = 1024;

struct environment : environment_variable {
  explicit environment(const char* value) : environment_variable("CISTERN_PASS_THROUGH", value) {}
};

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(upstream_sees_exactly_what_the_user_asks, Pool, pools) {
  checking_resource upstream;
  Pool pool({.pass_through = true}, &upstream);
  BOOST_TEST(pool.options().pass_through);
  std::vector<user_block> live;
  std::size_t live_bytes = 0;
  for (std::size_t alignment = 1; alignment <= 16 * kib; alignment *= 4) {
    for (const std::size_t bytes :
         {std::size_t{0}, std::size_t{1}, std::size_t{13}, std::size_t{1000}, 100 * kib + 1}) {
      live.push_back({pool.allocate(bytes, alignment), bytes, alignment});
      live_bytes += bytes;
      BOOST_TEST(live.back().aligned());
      BOOST_TEST(upstream.allocations() == live.size());
      BOOST_TEST(upstream.outstanding_bytes() == live_bytes);
      BOOST_TEST(upstream.largest_alignment() == alignment);
    }
  }
  BOOST_TEST(upstream.largest_request_bytes() == 100 * kib + 1);
  while (!live.empty()) {
    const user_block block = live.back();
    live.pop_back();
    live_bytes -= block.bytes;
    pool.deallocate(block.ptr, block.bytes, block.alignment);
    BOOST_TEST(upstream.outstanding_bytes() == live_bytes);
    BOOST_TEST(upstream.outstanding_blocks() == live.size());
  }
  BOOST_TEST(upstream.errors() == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(statistics_have_it_all_in_the_oversize_row, Pool, pools) {
  checking_resource upstream;
  Pool pool({.pass_through = true}, &upstream);
  const std::vector<void*> blocks = allocate_many(pool, 10, 100);
  for (std::size_t i = 0; i < 4; ++i) pool.deallocate(blocks[i], 100);
  const cistern::pool_statistics s = pool.statistics();
  BOOST_TEST(s.buckets.empty());
  BOOST_TEST((s.oversize == cistern::oversize_statistics{10, 4, 6, 600}));
  BOOST_TEST(s.in_use_bytes == 600U);
  BOOST_TEST(s.idle_bytes == 0U);
  BOOST_TEST(s.overhead_bytes == 0U);
  BOOST_TEST(fault_in(pool, upstream) == "");
  BOOST_TEST(pool.trim() == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(release_and_destructor_free_all, Pool, pools) {
  checking_resource upstream;
  {
    Pool pool({.pass_through = true}, &upstream);
    (void)allocate_many(pool, 100, 100, 64);
    pool.release();
    BOOST_TEST(upstream.outstanding_blocks() == 0U);
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
    (void)allocate_many(pool, 100, 33, 1);
    BOOST_TEST(fault_in(pool, upstream) == "");
  }
  BOOST_TEST(upstream.outstanding_blocks() == 0U);
  BOOST_TEST(upstream.errors() == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_ceiling_holds, Pool, pools) {
  checking_resource upstream;
  Pool pool({.max_bytes = 1000, .pass_through = true}, &upstream);
  void* const most = pool.allocate(999, 1);
  BOOST_CHECK_THROW((void)pool.allocate(2, 1), cistern::bad_allocation);
  void* const last = pool.allocate(1, 1);
  BOOST_TEST(upstream.outstanding_bytes() == 1000U);
  pool.deallocate(most, 999, 1);
  pool.deallocate(last, 1, 1);
  BOOST_TEST(upstream.peak_bytes() == 1000U);
  BOOST_TEST(fault_in(pool, upstream) == "");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(upstream_gets_to_judge_a_wrong_free, Pool, pools) {
  std::vector<memory_error> errors;
  checking_resource upstream(nullptr, cistern::testing::collect_into(errors));
  Pool pool({.pass_through = true}, &upstream);
  pool.deallocate(pool.allocate(100, 8), 104, 8);
  BOOST_REQUIRE(errors.size() == 1U);
  BOOST_TEST((errors[0].fault == memory_fault::wrong_size));
  BOOST_TEST(errors[0].bytes == 104U);
  pool.deallocate(pool.allocate(100, 8), 100, 16);
  BOOST_REQUIRE(errors.size() == 2U);
  BOOST_TEST((errors[1].fault == memory_fault::wrong_alignment));
  void* const block = pool.allocate(100, 8);
  pool.deallocate(block, 100, 8);
  pool.deallocate(block, 100, 8);
  BOOST_REQUIRE(errors.size() == 3U);
  BOOST_TEST((errors[2].fault == memory_fault::double_free));
  alignas(16) std::array<std::byte, 16> foreign{};
  pool.deallocate(foreign.data(), 16, 16);
  BOOST_REQUIRE(errors.size() == 4U);
  BOOST_TEST((errors[3].fault == memory_fault::unknown_pointer));
  // The accounts are right all the same.
  BOOST_TEST(pool.statistics().upstream_bytes == 0U);
  BOOST_TEST(pool.statistics().oversize.live_blocks == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_environment_switches_it_on, Pool, pools) {
  checking_resource upstream;
  for (const auto& [value, expected] : {std::pair<const char*, bool>{"1", true},
                                        {nullptr, false},
                                        {"", false},
                                        {"0", false},
                                        {"11", false},
                                        {"yes", false}}) {
    const environment set(value);
    Pool pool(pool_options{}, &upstream);
    BOOST_TEST_INFO("CISTERN_PASS_THROUGH=" << (value != nullptr ? value : "(not set)"));
    BOOST_TEST(pool.options().pass_through == expected);
    void* const block = pool.allocate(13, 1);
    BOOST_TEST((upstream.outstanding_bytes() == 13U) == expected);
    pool.deallocate(block, 13, 1);
    pool.release();
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_environment_is_read_once_at_construction, Pool, pools) {
  checking_resource upstream;
  {
    const environment set("1");
    Pool pool(&upstream);
    const environment unset(nullptr);
    pool.deallocate(pool.allocate(13, 1), 13, 1);
    BOOST_TEST(upstream.largest_request_bytes() == 13U);
  }
  const environment unset(nullptr);
  Pool pool(&upstream);
  const environment set("1");
  pool.deallocate(pool.allocate(13, 1), 13, 1);
  BOOST_TEST(upstream.largest_request_bytes() > 13U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_option_stays_on_whatever_the_environment_says, Pool, pools) {
  const environment set("0");
  const Pool pool({.pass_through = true});
  BOOST_TEST(pool.options().pass_through);
}
