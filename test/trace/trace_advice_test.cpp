// advise: the figures of a trace against ones worked out by hand, and the options against a real pool.
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/trace_advice.hpp>
#include <cistern/adaptor/trace_replay.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/trace_support.hpp"

using cistern::advise;
using cistern::trace_advice;
using cistern::trace_call;
using cistern::trace_event;
using cistern::trace_reader;
using namespace cistern::test_support;

namespace {

trace_advice advice_on(const trace_bytes& bytes, std::pmr::memory_resource* memory = nullptr) {
  trace_reader reader(cistern::trace_from_memory(bytes));
  return advise(reader, memory);
}

trace_event allocation(std::uint64_t address, std::uint64_t bytes, std::uint64_t alignment = 8,
                       std::uint64_t thread = 1) {
  return {trace_call::allocate, {}, thread, bytes, alignment, address};
}
trace_event deallocation(std::uint64_t address, std::uint64_t bytes, std::uint64_t alignment = 8,
                         std::uint64_t thread = 1) {
  return {trace_call::deallocate, {}, thread, bytes, alignment, address};
}

}  // namespace

BOOST_AUTO_TEST_CASE(figures_of_a_small_trace) {
  const trace_advice advice = advice_on(written({
      allocation(0x10, 30), allocation(0x20, 32), allocation(0x30, 1000),  // 32, 32, 1024
      deallocation(0x10, 30), deallocation(0x30, 1000),                    // 1056 idle
      allocation(0x40, 900, 512),                                          // The block of 1024 again.
      deallocation(0x20, 32, 8, 2),                                        // By another thread.
      deallocation(0x40, 900, 512), allocation(0x50, 0),                   // 16
      allocation(0x60, 8, 65536),                                          // No bucket's.
  }));
  BOOST_TEST(advice.allocations == 6u);
  BOOST_TEST(advice.threads == 2u);
  BOOST_TEST(advice.needs_synchronized());
  BOOST_TEST(advice.frees_elsewhere == 1u);
  BOOST_TEST(advice.largest_request_bytes == 1000u);
  BOOST_TEST(advice.largest_alignment == 65536u);
  BOOST_TEST(advice.peak_requested_bytes == 1062u);
  BOOST_TEST(advice.peak_bytes == 1088u);
  BOOST_TEST(advice.reused_idle_bytes == 1056u);  // What lay idle after the reuse doesn't count.
  BOOST_TEST(advice.unpooled == 1u);
  const std::vector<cistern::size_advice> sizes = {{16, 1, 0, 1, 1}, {32, 2, 0, 2, 0}, {1024, 2, 1, 1, 0}};
  BOOST_TEST((advice.sizes == sizes));
}

BOOST_AUTO_TEST_CASE(an_empty_trace_suggests_little) {
  const trace_advice advice = advice_on(written({}));
  BOOST_TEST((advice == trace_advice{}));
  BOOST_TEST(!advice.needs_synchronized());
  BOOST_TEST(advice.options().largest_required_pool_block == 0u);
  BOOST_TEST(advice.options().max_idle_bytes == 65536u);
}

BOOST_AUTO_TEST_CASE(large_requests_raise_the_bound_of_the_buckets) {
  const std::size_t mebi = std::size_t{1} << 20;
  BOOST_TEST(advice_on(written({allocation(1, 32 * mebi)})).options().largest_required_pool_block == 0u);
  BOOST_TEST(advice_on(written({allocation(1, 33 * mebi)})).options().largest_required_pool_block ==
             40 * mebi);
  const trace_advice huge = advice_on(written({allocation(1, UINT64_MAX)}));
  BOOST_TEST(huge.options().largest_required_pool_block == 1024 * mebi);
  BOOST_TEST(huge.unpooled == 1u);
}

BOOST_AUTO_TEST_CASE(a_trace_that_was_cut_off_is_looked_through_if_asked) {
  trace_bytes bytes = written({allocation(0x10, 30), allocation(0x20, 32)});
  const trace_advice whole = advice_on(bytes);
  BOOST_TEST(!whole.cut_off);
  bytes.pop_back();  // of the end mark
  BOOST_CHECK_THROW((void)advice_on(bytes), cistern::trace_error);
  trace_reader reader(cistern::trace_from_memory(bytes));
  const trace_advice advice = advise(reader, nullptr, {.up_to_the_cut = true});
  BOOST_TEST(advice.cut_off);
  BOOST_TEST((advice.sizes == whole.sizes));
  bytes[60] ^= std::byte{1};
  trace_reader corrupt(cistern::trace_from_memory(bytes));
  BOOST_CHECK_THROW((void)advise(corrupt, nullptr, {.up_to_the_cut = true}), cistern::trace_error);
}

BOOST_AUTO_TEST_CASE(frees_of_what_came_before_the_trace_are_left_out) {
  BOOST_TEST((advice_on(written({deallocation(0x10, 8)})).sizes.empty()));
}

// With the options suggested, a pool gives nothing back before the program's end; with much less, it does.
BOOST_AUTO_TEST_CASE(a_pool_with_the_suggested_options_keeps_what_is_needed_again) {
  trace_bytes bytes;
  {
    cistern::recording_adaptor recorded(trace_to(bytes));
    for (int wave = 0; wave < 5; ++wave) {
      std::pmr::vector<std::pmr::vector<char>> rows(&recorded);
      for (int i = 0; i < 500; ++i) rows.emplace_back(static_cast<std::size_t>(i) * 10 + 1, 'x');
    }
  }
  const trace_advice advice = advice_on(bytes);
  BOOST_TEST(advice.reused_idle_bytes > 1'000'000u);

  const auto given_back_during = [&](const cistern::pool_options& options) {
    cistern::testing::checking_resource upstream;
    cistern::unsynchronized_pool_resource pool(options, &upstream);
    trace_reader reader(cistern::trace_from_memory(bytes));
    BOOST_TEST(replay(reader, &pool).resource_passed());
    return upstream.deallocations();
  };
  BOOST_TEST(given_back_during(advice.options()) == 0u);
  cistern::pool_options tight = advice.options();
  tight.max_idle_bytes /= 10;
  BOOST_TEST(given_back_during(tight) > 0u);
}

BOOST_AUTO_TEST_CASE(whichever_allocation_fails_nothing_is_lost) {
  std::vector<trace_event> events;
  for (std::uint64_t i = 0; i < 200; ++i) events.push_back(allocation(i * 16, i, 8, i % 5));
  const trace_bytes bytes = written(events);
  cistern::testing::checking_resource checked;
  cistern::testing::failing_resource memory(&checked);
  const auto result = cistern::testing::fail_every_allocation(
      memory, [&] { BOOST_TEST(advice_on(bytes, &memory).allocations == 200u); },
      [&](std::uint64_t) { BOOST_TEST(checked.outstanding_blocks() == 0u); });
  BOOST_TEST(result.failed_runs > 200u);
}

BOOST_AUTO_TEST_CASE(the_advice_as_text) {
  const trace_advice advice = advice_on(written({allocation(0x10, 3000), deallocation(0x10, 3000),
                                                 allocation(0x10, 2900), allocation(0x20, 40'000'000)}));
  std::ostringstream out;
  out << advice;
  BOOST_TEST(out.str() ==
             "allocations                       3\n"
             "threads                           1\n"
             "freed by another thread           0\n"
             "largest request          40,000,000  B  (38.14 MiB)\n"
             "largest alignment                 8\n"
             "peak, as requested       40,002,900  B  (38.14 MiB)\n"
             "peak, in blocks          41,946,112  B     (40 MiB)\n"
             "idle before reuse             3,072  B      (3 KiB)\n"
             "outside all buckets               0\n"
             "\n"
             " block  allocations  reused  peak  live at the end\n"
             "--------------------------------------------------\n"
             " 3 KiB            2  50.0 %     1                1\n"
             "40 MiB            1   0.0 %     1                1\n"
             "\n"
             "cistern::unsynchronized_pool_resource pool({.largest_required_pool_block = 41943040, "
             ".max_idle_bytes = 262144});\n");
}

BOOST_AUTO_TEST_CASE(a_pool_has_both_blocks_of_a_reallocation_for_a_moment) {
  const trace_advice advice = advice_on(written({allocation(0x10, 32),
                                                 {.call = trace_call::reallocate,
                                                  .thread = 2,
                                                  .bytes = 64,
                                                  .alignment = 8,
                                                  .address = 0x40,
                                                  .old_address = 0x10}}));
  BOOST_TEST(advice.allocations == 2u);
  BOOST_TEST(advice.frees_elsewhere == 1u);
  BOOST_TEST(advice.peak_bytes == 96u);
  BOOST_TEST((advice.sizes == std::vector<cistern::size_advice>{{32, 1, 0, 1, 0}, {64, 1, 0, 1, 1}}));
}
