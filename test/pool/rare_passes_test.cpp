// rare_passes: what brings little is done after ever longer pauses.
#include <cistern/detail/pool/rare_passes.hpp>

#include <cstddef>
#include <cstdint>

#include <boost/test/unit_test.hpp>

using cistern::detail::rare_passes;

namespace {

// Passes begin at every moment; each that is on leaves so much of 1,600. Returns how many were.
int passes_on(rare_passes& passes, std::uint64_t first, std::uint64_t moments, std::size_t left) {
  int count = 0;
  for (std::uint64_t now = first; now < first + moments; ++now) {
    passes.begin(now, true, 1600);
    count += passes.is_on() ? 1 : 0;
    passes.end(now, left);
    BOOST_TEST(!passes.is_on());
  }
  return count;
}

}  // namespace

BOOST_AUTO_TEST_CASE(only_what_is_wanted_is_on) {
  rare_passes passes;
  BOOST_TEST(!passes.is_on());
  passes.begin(1, false, 100);
  BOOST_TEST(!passes.is_on());
  passes.begin(2, true, 100);
  BOOST_TEST(passes.is_on());
}

BOOST_AUTO_TEST_CASE(what_brings_something_goes_on_after_a_short_pause) {
  rare_passes passes;
  BOOST_TEST(passes_on(passes, 1, 6400, 1500) == 100);
}

BOOST_AUTO_TEST_CASE(what_brings_little_is_done_after_twice_the_pause_each_time) {
  rare_passes passes;
  BOOST_TEST(passes_on(passes, 1, 6400, 1501) == 6);  // after 128, 256, 512, 1,024 and 2,048
}

BOOST_AUTO_TEST_CASE(when_it_was_not_wanted_meanwhile_it_begins_anew) {
  rare_passes passes;
  (void)passes_on(passes, 1, 6400, 1600);
  passes.begin(7000, false, 1600);
  passes.end(7000, 1600);
  passes.begin(7001, true, 1600);
  BOOST_TEST(passes.is_on());
}
