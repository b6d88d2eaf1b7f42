#define BOOST_TEST_MODULE trace_breakdown
#include "../../src/tool/trace_breakdown.hpp"

#include <cistern/adaptor/trace_writer.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../../src/tool/trace_survey.hpp"

namespace tool = cistern::tool;
using cistern::trace_call;
using cistern::trace_event;

namespace {

constexpr std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();

trace_event event(trace_call call, std::uint64_t nanoseconds, std::uint64_t thread, std::uint64_t address,
                  std::uint64_t bytes = 0, std::uint64_t old_address = 0) {
  return {.call = call,
          .time = std::chrono::nanoseconds(nanoseconds),
          .thread = thread,
          .bytes = bytes,
          .address = address,
          .old_address = old_address};
}

/// As a program's calls come to a reader, without stacks.
std::vector<std::byte> trace_of(const std::vector<trace_event>& events) {
  std::vector<std::byte> bytes;
  cistern::trace_writer writer(
      [&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
  for (const trace_event& each : events) writer.write(each);
  writer.close();
  return bytes;
}

struct read_trace {
  explicit read_trace(const std::vector<std::byte>& bytes) {
    cistern::trace_reader first(cistern::trace_from_memory(bytes));
    survey = tool::survey(first);
    plan.site_of_stack.assign(survey.stacks.size(), 0);
    plan.sites = 1;
    plan.top_sites = {0};
    plan.kept_stacks = tool::stacks_worth_keeping(survey);
    plan.kept_threads = tool::threads_worth_keeping(survey);
    cistern::trace_reader second(cistern::trace_from_memory(bytes));
    breakdown = std::make_unique<tool::trace_breakdown>(tool::break_down(second, survey, plan));
  }
  explicit read_trace(const std::vector<trace_event>& events) : read_trace(trace_of(events)) {}

  tool::trace_survey survey;
  tool::breakdown_plan plan;
  std::unique_ptr<tool::trace_breakdown> breakdown;
};

}  // namespace

BOOST_AUTO_TEST_CASE(totals_and_the_peak) {
  const read_trace read(
      {event(trace_call::allocate, 10, 1, 0x10, 100), event(trace_call::allocate, 20, 1, 0x20, 50),
       event(trace_call::deallocate, 30, 1, 0x10), event(trace_call::allocate, 40, 1, 0x30, 60)});
  BOOST_TEST(read.survey.allocations == 3U);
  BOOST_TEST(read.survey.deallocations == 1U);
  BOOST_TEST(read.survey.all.made.bytes == 210);
  BOOST_TEST(read.survey.all.peak_bytes == 150);
  BOOST_TEST(read.survey.peak_nanoseconds == 20U);
  BOOST_TEST(read.survey.left_blocks == 2U);
  BOOST_TEST(read.survey.all.live_bytes == 110);
  BOOST_TEST(read.survey.end_nanoseconds == 40U);
  BOOST_TEST(!read.survey.is_cut_off);
}

BOOST_AUTO_TEST_CASE(a_temporary_is_freed_before_the_next_allocation_of_its_thread) {
  const read_trace read(
      {event(trace_call::allocate, 1, 1, 0x10, 8), event(trace_call::allocate, 2, 2, 0x20, 8),
       event(trace_call::deallocate, 3, 1, 0x10),  // Another thread's allocation came between.
       event(trace_call::allocate, 4, 2, 0x30, 8), event(trace_call::deallocate, 5, 2, 0x20)});
  BOOST_TEST(read.survey.all.made.temporaries == 1U);
  std::uint64_t in_spans = 0;
  for (const auto& span : read.breakdown->spans) {
    for (const tool::call_totals& each : span) in_spans += each.temporaries;
  }
  BOOST_TEST(in_spans == 1U);
}

BOOST_AUTO_TEST_CASE(the_old_block_of_a_realloc_ends_and_is_no_temporary) {
  const read_trace read({event(trace_call::allocate, 1, 1, 0x10, 8),
                         event(trace_call::reallocate, 2, 1, 0x10, 64, 0x10),
                         event(trace_call::deallocate, 9, 1, 0x10)});
  BOOST_TEST(read.survey.reallocations == 1U);
  BOOST_TEST(read.survey.all.made.temporaries == 1U);  // The new one.
  BOOST_TEST(read.survey.all.peak_bytes == 64);
  BOOST_TEST(read.breakdown->size_and_life[4][1].blocks == 1U);  // 8 bytes, 1 ns.
  BOOST_TEST(read.breakdown->size_and_life[7][3].blocks == 1U);  // 64 bytes, 7 ns.
}

BOOST_AUTO_TEST_CASE(what_is_never_freed_has_a_place_of_its_own) {
  const read_trace read({event(trace_call::allocate, 1, 1, 0x10, 0)});
  BOOST_TEST(read.breakdown->size_and_life[0][tool::trace_breakdown::never].blocks == 1U);
}

BOOST_AUTO_TEST_CASE(who_frees_what_who_allocated) {
  const read_trace read(
      {event(trace_call::allocate, 1, 7, 0x10, 8), event(trace_call::allocate, 2, 7, 0x20, 16),
       event(trace_call::deallocate, 3, 9, 0x10), event(trace_call::deallocate, 4, 7, 0x20)});
  const std::vector<std::uint64_t> threads = {7, 9};
  BOOST_TEST(read.plan.kept_threads == threads, boost::test_tools::per_element());
  BOOST_TEST(read.breakdown->handed_over[0][1].blocks == 1U);
  BOOST_TEST(read.breakdown->handed_over[0][1].bytes == 8);
  BOOST_TEST(read.breakdown->handed_over[0][0].bytes == 16);
  BOOST_TEST(read.breakdown->handed_over[1][0].blocks == 0U);
}

BOOST_AUTO_TEST_CASE(threads_beyond_the_most_are_together) {
  std::vector<trace_event> events;
  for (std::uint64_t thread = 1; thread <= 100; ++thread) {
    events.push_back(event(trace_call::allocate, thread, thread, thread * 16, 8));
    if (thread > 60) events.push_back(event(trace_call::deallocate, thread, thread, thread * 16));
  }
  const read_trace read(events);
  BOOST_TEST(read.plan.kept_threads.size() == tool::most_kept_threads);
  BOOST_TEST(read.plan.kept_threads.front() > 60U);  // The busiest.
  const auto& matrix = read.breakdown->handed_over;
  std::uint64_t blocks = 0;
  for (const auto& row : matrix) {
    for (const tool::block_totals& each : row) blocks += each.blocks;
  }
  BOOST_TEST(blocks == 40U);
  BOOST_TEST(matrix.back().back().blocks == 40U - tool::most_kept_threads);
}

BOOST_AUTO_TEST_CASE(curves_add_up_to_what_was_live) {
  const read_trace read({event(trace_call::allocate, 0, 1, 0x10, 16),
                         event(trace_call::allocate, 1, 1, 0x20, 17),
                         event(trace_call::allocate, 2, 1, 0x30, std::uint64_t{1} << 30)});
  const tool::live_curve& curve = read.breakdown->by_size;
  BOOST_TEST(curve.series(0).back() == 16);
  BOOST_TEST(curve.series(1).back() == 17);
  BOOST_TEST(curve.series(tool::size_band_ends.size()).back() == 1073741824.0);
  BOOST_TEST(read.breakdown->by_site.series(0).back() == 16 + 17 + 1073741824.0);
}

BOOST_AUTO_TEST_CASE(sizes_and_times_at_extremes) {
  const auto latest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const read_trace read(
      {event(trace_call::allocate, 0, 1, 0x10, huge), event(trace_call::allocate, 0, huge, huge, huge),
       event(trace_call::deallocate, latest, 1, 0x10), event(trace_call::deallocate, latest, 2, 0x5000)});
  BOOST_TEST(read.survey.all.peak_bytes == 2 * static_cast<double>(huge));
  BOOST_TEST(read.breakdown->size_and_life[64][63].blocks == 1U);
  BOOST_TEST(read.breakdown->size_and_life[64][tool::trace_breakdown::never].blocks == 1U);
}

BOOST_AUTO_TEST_CASE(a_trace_that_is_cut_off_counts_as_far_as_it_goes) {
  std::vector<std::byte> bytes = trace_of({event(trace_call::allocate, 1, 1, 0x10, 8)});
  bytes.resize(bytes.size() - 10);  // In the end mark.
  const read_trace read(bytes);
  BOOST_TEST(read.survey.is_cut_off);
  BOOST_TEST(read.survey.allocations == 1U);
  BOOST_TEST(read.breakdown->by_size.series(0).back() == 8);
}

BOOST_AUTO_TEST_CASE(a_trace_without_calls) {
  const read_trace read(std::vector<trace_event>{});
  BOOST_TEST(read.survey.threads.empty());
  BOOST_TEST(read.plan.kept_stacks.empty());
}
