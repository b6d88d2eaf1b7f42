// recent_peak: a peak counts for a fall and a part of the next one.
#include <cistern/detail/pool/recent_peak.hpp>

#include <cstddef>
#include <cstdint>

#include <boost/test/unit_test.hpp>

using cistern::detail::recent_peak;

BOOST_AUTO_TEST_CASE(a_peak_is_the_most_that_was_in_use) {
  recent_peak peak;
  BOOST_TEST(peak.bytes() == 0U);
  peak.note(100, 0);
  peak.note(70, 30);
  BOOST_TEST(peak.bytes() == 100U);
  peak.note(120, 40);
  BOOST_TEST(peak.bytes() == 120U);
}

BOOST_AUTO_TEST_CASE(it_is_forgotten_after_a_fall_and_at_most_half_of_another_one) {
  recent_peak peak;
  std::uint64_t freed = 0;
  const auto free = [&](std::uint64_t bytes) {
    for (const std::uint64_t end = freed + bytes; freed < end; freed += 8) peak.note(80, freed);
  };
  free(96);
  peak.note(1600, freed);
  free(1600 + 1600 / 8);
  BOOST_TEST(peak.bytes() == 1600U);
  free(1600 / 8 * 3 + 64);
  BOOST_TEST(peak.bytes() == 80U);
}

BOOST_AUTO_TEST_CASE(a_use_that_rises_and_falls_keeps_its_peak) {
  recent_peak peak;
  std::uint64_t freed = 0;
  for (int round = 0; round < 10; ++round) {
    const std::size_t most = 1000 - 10 * static_cast<std::size_t>(round % 2);
    for (std::size_t used = most; used > 0; used -= 10) {
      peak.note(used, freed);
      freed += 10;
      BOOST_TEST(peak.bytes() >= 990U);
    }
  }
}
