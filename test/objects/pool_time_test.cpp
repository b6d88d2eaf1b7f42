// Deadlines that stop at the end of time instead of overflowing, and a coarse clock that keeps up with the
// precise one.
#include <cistern/detail/objects/pool_time.hpp>

#include <chrono>
#include <limits>
#include <ratio>

#include <boost/test/unit_test.hpp>

using cistern::duration;
using cistern::forever;
using cistern::time_point;
using cistern::detail::coarse_system_time;
using cistern::detail::is_system_clock;
using cistern::detail::later;
using cistern::detail::saturated;
using namespace std::chrono_literals;

namespace {

time_point still() {
  return time_point{};
}

}  // namespace

BOOST_AUTO_TEST_CASE(later_stops_at_the_end_of_time) {
  const time_point start{100s};
  BOOST_TEST((later(start, 5s) == time_point{105s}));
  BOOST_TEST((later(start, duration::zero()) == start));
  BOOST_TEST((later(start, -5s) == time_point{95s}));
  BOOST_TEST((later(start, duration::max()) == time_point::max()));
  BOOST_TEST((later(time_point::max(), 1ns) == time_point::max()));
  BOOST_TEST((later(time_point::max(), duration::zero()) == time_point::max()));
  BOOST_TEST((later(time_point::max() - 1ns, 1ns) == time_point::max()));
  BOOST_TEST((later(time_point::max() - 2ns, 1ns) == time_point::max() - 1ns));
  BOOST_TEST((later(time_point::min(), duration::max()) < time_point{}));
}

BOOST_AUTO_TEST_CASE(before_the_beginning_of_time_is_the_beginning) {
  BOOST_TEST((later(time_point::min(), -1ns) == time_point::min()));
  BOOST_TEST((later(time_point{-1ns}, duration::min()) == time_point::min()));
  BOOST_TEST((later(time_point{}, duration::min()) == time_point::min()));
}

BOOST_AUTO_TEST_CASE(longer_than_the_pools_can_say_is_forever) {
  using std::chrono::hours;
  using years = std::chrono::duration<double, std::ratio<31'556'952>>;
  BOOST_TEST((saturated(hours::max()) == forever));
  BOOST_TEST((saturated(hours::min()) == duration::min()));
  BOOST_TEST((saturated(years{300}) == forever));
  BOOST_TEST((saturated(years{-300}) == duration::min()));
  BOOST_TEST((saturated(years{std::numeric_limits<double>::quiet_NaN()}) == forever));
  BOOST_TEST((saturated(hours{2}) == duration{2h}));
  BOOST_TEST((saturated(-5s) == duration{-5s}));
  BOOST_TEST((saturated(duration{7}) == duration{7}));
  BOOST_TEST((saturated(std::chrono::duration<int, std::pico>{2'999}) == duration{2}));
  BOOST_TEST(
      (saturated(std::chrono::time_point<std::chrono::steady_clock, hours>::max()) == time_point::max()));
}

BOOST_AUTO_TEST_CASE(the_system_s_clock_is_known) {
  BOOST_TEST(is_system_clock(&std::chrono::steady_clock::now));
  BOOST_TEST(!is_system_clock(&still));
}

BOOST_AUTO_TEST_CASE(the_coarse_clock_is_the_steady_clock_of_a_moment_ago) {
  time_point previous = coarse_system_time();
  for (int i = 0; i < 1'000; ++i) {
    const time_point now = coarse_system_time();
    BOOST_TEST((now >= previous));
    BOOST_TEST((now <= std::chrono::steady_clock::now()));
    previous = now;
  }
  // It moves: sooner or later it is past where the precise one was.
  const time_point start = std::chrono::steady_clock::now();
  while (coarse_system_time() <= start) {
  }
}
