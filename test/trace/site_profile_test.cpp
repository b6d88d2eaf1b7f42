// site_profile: what becomes of the blocks of each call site.
#include "../../src/trace/site_profile.hpp"

#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <chrono>
#include <cstdint>
#include <memory_resource>

#include <boost/test/unit_test.hpp>

#include "../support/stacked_trace.hpp"

using cistern::trace_error;
using cistern::trace_reader;
using cistern::detail::hand_over;
using cistern::detail::profile_sites;
using cistern::detail::site_facts;
using cistern::detail::stack_site;
using cistern::detail::trace_profile;
using namespace cistern::test_support;
using namespace std::chrono_literals;

namespace {

/// Sites are functions: function 1 is site 1, what has no stack site 0.
trace_profile profile_of(const trace_bytes& bytes, std::pmr::memory_resource* memory = nullptr) {
  trace_reader reader(cistern::trace_from_memory(bytes), memory);
  return profile_sites(
      reader,
      [](std::uint64_t stack) {
        return stack_site{static_cast<std::uint32_t>(stacked_trace::function_of(stack)), 0};
      },
      memory);
}

}  // namespace

BOOST_AUTO_TEST_CASE(figures_of_sites) {
  stacked_trace program;
  const auto a = program.allocate(100, 1);
  const auto b = program.allocate(28, 1);
  const auto c = program.allocate(1000, 2);
  program.wait(1us);
  program.free(b, 1);
  program.free(a, 2, 5);
  const trace_profile profile = profile_of(program.bytes());
  BOOST_REQUIRE(profile.sites.size() == 3u);
  const site_facts& first = profile.sites[1];
  BOOST_TEST(first.allocations == 2u);
  BOOST_TEST(first.frees == 2u);
  BOOST_TEST(first.requested_bytes == 128u);
  BOOST_TEST(first.largest_bytes == 100u);
  BOOST_TEST(first.peak_blocks == 2u);
  BOOST_TEST(first.peak_bytes == 128u);
  BOOST_TEST(first.live_blocks == 0u);
  BOOST_TEST(first.handed_over == 1u);
  BOOST_TEST(first.has_threads);
  BOOST_TEST(first.sizes[7] == 1u);       // 64 to 127.
  BOOST_TEST(first.sizes[5] == 1u);       // 16 to 31.
  BOOST_TEST(first.lifetimes[11] == 1u);  // 1024 to 2047 ns.
  BOOST_TEST(first.lifetimes[12] == 1u);
  const site_facts& second = profile.sites[2];
  BOOST_TEST(second.live_blocks == 1u);
  BOOST_TEST(second.live_bytes == 1000u);
  BOOST_TEST(!second.has_threads);
  BOOST_TEST(profile.allocations == 3u);
  BOOST_TEST(profile.calls == 5u);
  BOOST_TEST(profile.program_calls == 5.0);
  BOOST_TEST(profile.threads == 2u);
  BOOST_TEST(profile.requested_bytes == 1128u);
  BOOST_TEST(profile.peak_bytes == 1128u);
  BOOST_TEST(profile.left_live == 1u);
  BOOST_TEST(profile.duration.count() == 5 * 300 + 1000);
  BOOST_TEST(profile.has_stacks);
  BOOST_REQUIRE(profile.hand_overs.size() == 1u);
  BOOST_TEST((profile.hand_overs[0] == hand_over{1, 5, 1, 100}));
  (void)c;
}

BOOST_AUTO_TEST_CASE(temporaries_and_what_a_function_frees_itself) {
  stacked_trace program;
  program.free(program.allocate(1, 1), 2);  // 1: a temporary, whoever frees it.
  const auto b = program.allocate(1, 1);    // 2: by the function that made it.
  const auto c = program.allocate(1, 2);    // 3: by another function, and not at once.
  const auto d = program.allocate(1, 3);    // 4: kept for long by the function that made it.
  program.free(b, 1);
  for (int i = 0; i < 40; ++i) program.free(program.allocate(1, 4), 5);
  program.free(c, 6);
  program.free(d, 3);
  const trace_profile profile = profile_of(program.bytes());
  BOOST_TEST(profile.sites[1].temporaries == 1u);
  BOOST_TEST(profile.sites[1].locals == 2u);
  BOOST_TEST(profile.sites[2].locals == 0u);
  BOOST_TEST(profile.sites[3].locals == 0u);
  BOOST_TEST(profile.sites[4].temporaries == 40u);
  BOOST_TEST(profile.locals[1]);
  BOOST_TEST(profile.locals[2]);
  BOOST_TEST(!profile.locals[3]);
  BOOST_TEST(!profile.locals[4]);
}

BOOST_AUTO_TEST_CASE(steps_of_a_growth_are_no_temporaries) {
  stacked_trace program;
  std::uint64_t block = program.allocate(8, 1);
  for (std::uint64_t bytes = 16; bytes <= 1024; bytes *= 2) {
    const std::uint64_t larger = program.allocate(bytes, 1);
    program.free(block, 1);
    block = larger;
  }
  block = program.reallocate(block, 3000, 1);
  const trace_profile profile = profile_of(program.bytes());
  BOOST_TEST(profile.sites[1].growth.chains == 1u);
  BOOST_TEST(profile.sites[1].growth.steps == 8u);
  BOOST_TEST(profile.sites[1].locals == 0u);
  BOOST_TEST(profile.replaced[1]);
  BOOST_TEST(profile.replaced[8]);
}

BOOST_AUTO_TEST_CASE(without_stacks_there_is_one_site_and_a_cut_is_said) {
  stacked_trace program;
  program.free(program.allocate(10, 1), 2);
  const trace_profile profile = profile_of(program.bytes(false, false));
  BOOST_TEST(!profile.has_stacks);
  BOOST_REQUIRE(profile.sites.size() == 1u);
  BOOST_TEST(profile.sites[0].temporaries == 1u);
  BOOST_TEST(profile.cut.has_value());
  BOOST_CHECK_THROW((void)profile_of(trace_header()), trace_error);
}

BOOST_AUTO_TEST_CASE(memory_that_runs_out_is_all_given_back) {
  stacked_trace program;
  program.free(program.allocate(10, 1), 2, 3);
  program.free(program.allocate(10, 2), 2);
  const trace_bytes bytes = program.bytes();
  cistern::testing::checking_resource checked;
  cistern::testing::failing_resource memory(&checked);
  const auto result = cistern::testing::fail_every_allocation(
      memory, [&] { BOOST_TEST(profile_of(bytes, &memory).allocations == 2u); },
      [&](std::uint64_t) { BOOST_TEST(checked.outstanding_blocks() == 0u); });
  BOOST_TEST(result.failed_runs > 0u);
}
