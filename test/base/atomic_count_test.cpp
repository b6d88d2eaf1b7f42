// Counters that threads share: a limit is never exceeded and can always be reached; a peak never goes down.
#include <cistern/detail/base/atomic_count.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <boost/test/unit_test.hpp>

#include "../support/threads.hpp"

using cistern::detail::raise;
using cistern::detail::reserve;
using cistern::test_support::require;
using cistern::test_support::run_threads;

BOOST_AUTO_TEST_CASE(what_fits_is_added_and_told) {
  std::atomic<std::size_t> held{10};
  const auto fits = reserve(held, 5, 15);
  BOOST_TEST((fits.granted && fits.held_bytes == 15 && held == 15U));
  const auto refused = reserve(held, 1, 15);
  BOOST_TEST((!refused.granted && refused.held_bytes == 15 && held == 15U));
}

BOOST_AUTO_TEST_CASE(nothing_wraps_and_no_bytes_always_fit) {
  std::atomic<std::size_t> held{10};
  BOOST_TEST(!reserve(held, SIZE_MAX, SIZE_MAX).granted);
  BOOST_TEST(!reserve(held, 1, 5).granted);  // the limit was lowered
  BOOST_TEST(reserve(held, 0, 5).granted);
  BOOST_TEST(reserve(held, SIZE_MAX - 10, SIZE_MAX).granted);
}

BOOST_AUTO_TEST_CASE(a_peak_is_only_raised) {
  std::atomic<std::size_t> peak{5};
  raise(peak, 3);
  BOOST_TEST(peak == 5U);
  raise(peak, 8);
  BOOST_TEST(peak == 8U);
}

// Each thread wants half of the limit, and there are two: neither may make the other fail.
BOOST_AUTO_TEST_CASE(threads_that_fit_together_never_refuse_each_other) {
  std::atomic<std::size_t> held{0};
  std::atomic<std::size_t> peak{0};
  run_threads(2, [&](std::size_t) {
    for (int i = 0; i < 20'000; ++i) {
      const auto made = reserve(held, 50, 100);
      require(made.granted && made.held_bytes <= 100, "refused, or more than the limit");
      raise(peak, made.held_bytes);
      held -= 50;
    }
  });
  BOOST_TEST(held == 0U);
  BOOST_TEST((peak == 50U || peak == 100U));
}
