// One call in N is picked, whatever other samplers of the thread do; none or every one where that is asked.
#include <cistern/detail/base/sampler.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>

#include <boost/test/unit_test.hpp>

#include "../support/threads.hpp"

using cistern::detail::sampler;

namespace {

std::size_t picked_of(std::size_t calls, sampler& one) {
  std::size_t picked = 0;
  for (std::size_t i = 0; i < calls; ++i) picked += one.picks() ? 1 : 0;
  return picked;
}

// Between two picks lie at most 2 N calls, N on average; the deviation of the mean of n is below 0.58 N /
// sqrt(n). Here the tolerance is more than ten of these.
void expect_share(std::size_t picked, std::size_t calls, std::size_t one_in) {
  const double expected = static_cast<double>(calls) / static_cast<double>(one_in);
  BOOST_TEST_INFO("one in " << one_in);
  BOOST_TEST(static_cast<double>(picked) > expected * 0.9);
  BOOST_TEST(static_cast<double>(picked) < expected * 1.1);
}

}  // namespace

BOOST_AUTO_TEST_CASE(one_in_n_is_picked) {
  for (const std::size_t one_in : {2U, 3U, 7U, 50U}) {
    sampler one(one_in);
    const std::size_t calls = 10'000 * one_in;
    expect_share(picked_of(calls, one), calls, one_in);
  }
}

BOOST_AUTO_TEST_CASE(every_one_and_none) {
  sampler every(1);
  sampler none(0);
  for (int i = 0; i < 1'000; ++i) {
    BOOST_REQUIRE(every.picks());
    BOOST_REQUIRE(!none.picks());
  }
}

BOOST_AUTO_TEST_CASE(the_largest_n_is_rare_but_no_error) {
  sampler rare(SIZE_MAX);
  BOOST_TEST(picked_of(100'000, rare) == 0u);
}

BOOST_AUTO_TEST_CASE(samplers_that_share_a_thread_keep_their_shares) {
  sampler often(5);
  sampler seldom(40);
  sampler every(1);
  sampler none(0);
  std::size_t picked_often = 0;
  std::size_t picked_seldom = 0;
  constexpr std::size_t rounds = 400'000;
  for (std::size_t i = 0; i < rounds; ++i) {
    picked_often += often.picks() ? 1 : 0;
    picked_seldom += seldom.picks() ? 1 : 0;
    if (i % 3 == 0) BOOST_REQUIRE(every.picks());
    if (i % 3 == 1) BOOST_REQUIRE(!none.picks());
  }
  expect_share(picked_often, rounds, 5);
  expect_share(picked_seldom, rounds, 40);
}

BOOST_AUTO_TEST_CASE(threads_that_end_soon_have_their_share) {
  sampler one(100);
  std::atomic<std::size_t> picked{0};
  constexpr std::size_t threads = 4'000;
  for (std::size_t i = 0; i < threads; ++i) {
    cistern::test_support::run_thread([&] { picked += picked_of(20, one); });
  }
  // One of the thread's 20 calls with a probability of 1 in 5; the tolerance is five deviations.
  BOOST_TEST(picked > threads / 6);
  BOOST_TEST(picked < threads / 4);
}

BOOST_AUTO_TEST_CASE(threads_begin_at_random_times) {
  sampler one(1'000'000);
  std::mutex mutex;
  std::set<std::size_t> first_picks;
  cistern::test_support::run_threads(8, [&](std::size_t) {
    std::size_t first = 0;
    while (!one.picks()) ++first;
    const std::scoped_lock guard(mutex);
    first_picks.insert(first);
  });
  BOOST_TEST(first_picks.size() > 4u);
  BOOST_TEST(*first_picks.rbegin() > 1'000u);
}
