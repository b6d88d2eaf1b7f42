#define BOOST_TEST_MODULE live_curve
#include "../../src/tool/live_curve.hpp"

#include <cstdint>
#include <limits>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::tool::live_curve;

BOOST_AUTO_TEST_CASE(a_bin_has_what_was_live_when_the_sum_was_highest) {
  live_curve curve(99, 10, 2);  // Bins of 10 ns.
  curve.add(0, 0, 100);
  curve.add(1, 1, 50);
  curve.subtract(2, 0, 100);  // 150 was the highest of the first bin.
  curve.add(3, 0, 20);
  curve.finish();
  BOOST_TEST(curve.series(0)[0] == 100);
  BOOST_TEST(curve.series(1)[0] == 50);
  BOOST_TEST(curve.series(0)[1] == 20);
  BOOST_TEST(curve.series(1)[9] == 50);
}

BOOST_AUTO_TEST_CASE(a_bin_begins_with_what_the_one_before_left) {
  live_curve curve(99, 10, 1);
  curve.add(5, 0, 8);
  curve.subtract(30, 0, 8);
  curve.finish();
  const std::vector<double> expected = {8, 8, 8, 8, 0, 0, 0, 0, 0, 0};
  BOOST_TEST(curve.series(0) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(any_time_and_any_size_has_a_place) {
  live_curve curve(std::numeric_limits<std::uint64_t>::max(), 3, 1);
  const auto huge = static_cast<double>(std::numeric_limits<std::uint64_t>::max());
  for (int i = 0; i < 100; ++i) curve.add(std::numeric_limits<std::uint64_t>::max(), 0, huge);
  curve.add(0, 0, 1);  // Time that goes back.
  curve.subtract(0, 0, huge * 1000);
  curve.finish();
  BOOST_TEST(curve.series(0)[0] == 0);
  BOOST_TEST(curve.series(0)[2] == 100 * huge);
}

BOOST_AUTO_TEST_CASE(no_time_is_a_time) {
  live_curve curve(0, 4, 1);
  curve.add(0, 0, 3);
  curve.finish();
  BOOST_TEST(curve.series(0)[0] == 3);
  BOOST_TEST(curve.series(0)[3] == 3);
}
