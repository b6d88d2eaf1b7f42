// Samples: as many as their mean distance says, each byte with the same chance.
#include "../../src/record/byte_sampler.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::detail::byte_sampler;
using cistern::detail::sampling_thread;

namespace {

/// Of so many allocations of a size, with a seed of its own.
std::uint64_t samples_of(const byte_sampler& chooser, std::uint64_t allocations, std::size_t bytes,
                         std::uint64_t seed) {
  sampling_thread thread{.left_bytes = 0, .random = seed};
  (void)chooser.passes_by(thread, 1);  // The first gap.
  std::uint64_t samples = 0;
  for (std::uint64_t i = 0; i < allocations; ++i) samples += chooser.passes_by(thread, bytes) ? 0U : 1U;
  return samples;
}

}  // namespace

BOOST_AUTO_TEST_CASE(without_a_distance_all_are_recorded) {
  const byte_sampler chooser;
  BOOST_TEST(!chooser.is_on());
  BOOST_TEST(samples_of(chooser, 100, 0, 1) == 100U);
}

BOOST_AUTO_TEST_CASE(an_allocation_is_recorded_with_a_chance_by_its_size) {
  constexpr std::uint64_t count = 200'000;
  byte_sampler chooser;
  for (const double mean : {64.0, 1000.0, 524'288.0}) {
    chooser.begin(static_cast<std::uint64_t>(mean));
    for (const double part : {0.01, 0.1, 0.5, 1.0, 3.0}) {
      const auto bytes = static_cast<std::size_t>(mean * part) + 1;
      const double chance = 1 - std::exp(-static_cast<double>(bytes) / mean);
      const double expected = static_cast<double>(count) * chance;
      const double spread = std::sqrt(expected * (1 - chance)) + 1;
      const auto samples = static_cast<double>(samples_of(chooser, count, bytes, 7));
      // Gaps are whole bytes: with a mean of 64 a gap is half a byte too long.
      BOOST_TEST(std::abs(samples - expected) < 5 * spread + expected / mean, samples << " of " << expected);
    }
  }
}

BOOST_AUTO_TEST_CASE(sizes_that_nobody_has_are_counted_as_well) {
  byte_sampler chooser;
  chooser.begin(1 << 20);
  BOOST_TEST(samples_of(chooser, 10, SIZE_MAX, 3) == 10U);
  BOOST_TEST(samples_of(chooser, 10, 0, 3) == 0U);
  chooser.begin(UINT64_MAX);
  BOOST_TEST(samples_of(chooser, 100, 1, 3) == 0U);
}

BOOST_AUTO_TEST_CASE(while_it_is_paused_nothing_is_recorded) {
  byte_sampler chooser;
  for (const std::uint64_t mean : {byte_sampler::every_allocation, std::uint64_t{64}}) {
    chooser.begin(mean);
    const std::uint64_t all = samples_of(chooser, 1000, 100, 5);
    BOOST_TEST(all > (mean == 1 ? 999U : 700U));
    chooser.pause();
    BOOST_TEST(samples_of(chooser, 1000, 100, 5) == 0U);
    chooser.resume();
    BOOST_TEST(samples_of(chooser, 1000, 100, 5) == all);
    chooser.toggle();
    BOOST_TEST(samples_of(chooser, 1000, 100, 5) == 0U);
    chooser.toggle();
    BOOST_TEST(samples_of(chooser, 1000, 100, 5) == all);
  }
  chooser.begin(0);  // Without pauses.
  chooser.pause();
  BOOST_TEST(samples_of(chooser, 10, 100, 5) == 10U);
}

BOOST_AUTO_TEST_CASE(every_allocation_is_one_of_no_bytes_too) {
  byte_sampler chooser;
  chooser.begin(byte_sampler::every_allocation);
  BOOST_TEST(samples_of(chooser, 10, 0, 3) == 10U);
}

BOOST_AUTO_TEST_CASE(a_pause_does_not_make_samples_likelier) {
  byte_sampler chooser;
  constexpr std::uint64_t mean = 10'000;
  chooser.begin(mean);
  sampling_thread thread{.left_bytes = 0, .random = 11};
  std::uint64_t samples = 0;
  constexpr std::uint64_t count = 100'000;
  for (std::uint64_t i = 0; i < count; ++i) {
    chooser.pause();
    for (int j = 0; j < 3; ++j) (void)chooser.passes_by(thread, 5000);
    chooser.resume();
    samples += chooser.passes_by(thread, 100) ? 0U : 1U;
  }
  const double expected = static_cast<double>(count) * (1 - std::exp(-100.0 / mean));
  BOOST_TEST(std::abs(static_cast<double>(samples) - expected) < 5 * std::sqrt(expected));
}

BOOST_AUTO_TEST_CASE(any_thread_may_pause_it) {
  byte_sampler chooser;
  chooser.begin(byte_sampler::every_allocation);
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      sampling_thread thread;
      for (int i = 0; i < 2000; ++i) {
        chooser.toggle();
        (void)chooser.passes_by(thread, 8);
      }
    });
  }
  for (std::thread& each : threads) each.join();
  sampling_thread thread;
  BOOST_TEST(!chooser.passes_by(thread, 8));  // It was toggled an even number of times.
}

BOOST_AUTO_TEST_CASE(threads_have_gaps_of_their_own) {
  byte_sampler chooser;
  chooser.begin(1 << 20);
  sampling_thread threads[2];
  for (sampling_thread& each : threads) (void)chooser.passes_by(each, 1);
  BOOST_TEST(threads[0].random != threads[1].random);
  BOOST_TEST(threads[0].left_bytes != threads[1].left_bytes);
}
