// replay: a recorded life can be lived again on any resource, and what that resource does wrong is counted.
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/trace_replay.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory_resource>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/throwing_resource.hpp"
#include "../support/trace_support.hpp"

using cistern::replay;
using cistern::replay_report;
using cistern::trace_call;
using cistern::trace_event;
using cistern::trace_reader;
using cistern::test_support::throwing_resource;
using cistern::test_support::unusual_error;
using cistern::testing::checking_resource;
using namespace cistern::test_support;

namespace {

// The life of some containers.
trace_bytes recorded_life() {
  trace_bytes bytes;
  cistern::recording_adaptor recorded(trace_to(bytes));
  {
    std::pmr::map<int, std::pmr::string> names(&recorded);
    for (int i = 0; i < 500; ++i) {
      names[i * 7919 % 1000].append(static_cast<std::size_t>(i) % 90 + 20, 'x');
      if (i % 3 == 0) names.erase(names.begin());
    }
  }
  recorded.close();
  return bytes;
}

replay_report replayed(const trace_bytes& bytes, std::pmr::memory_resource* on,
                       const cistern::replay_options& options = {}) {
  trace_reader reader(cistern::trace_from_memory(bytes));
  return replay(reader, on, options);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_life_is_lived_again_on_any_resource) {
  const trace_bytes bytes = recorded_life();
  const auto events = events_of(bytes);
  checking_resource checked;
  cistern::unsynchronized_pool_resource unsynchronized(&checked);
  cistern::synchronized_pool_resource synchronized(&checked);
  for (std::pmr::memory_resource* const on :
       {static_cast<std::pmr::memory_resource*>(&checked),
        static_cast<std::pmr::memory_resource*>(&unsynchronized),
        static_cast<std::pmr::memory_resource*>(&synchronized), std::pmr::new_delete_resource(),
        static_cast<std::pmr::memory_resource*>(nullptr)}) {
    const replay_report report = replayed(bytes, on);
    BOOST_TEST(report.resource_passed());
    BOOST_TEST(report.allocations + report.deallocations == events.size());
    BOOST_TEST(report.allocations == report.deallocations);
    BOOST_TEST(report.left_live == 0u);
    BOOST_TEST(report.peak_live_bytes > 10'000u);
  }
}

BOOST_AUTO_TEST_CASE(the_same_sizes_and_alignments_in_the_same_order) {
  const trace_bytes bytes = recorded_life();
  trace_bytes again;
  {
    cistern::recording_adaptor recorded(trace_to(again));
    BOOST_TEST(replayed(bytes, &recorded).resource_passed());
  }
  const auto first = events_of(bytes);
  const auto second = events_of(again);
  BOOST_REQUIRE(first.size() == second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    BOOST_TEST((first[i].call == second[i].call));
    BOOST_TEST(first[i].bytes == second[i].bytes);
    BOOST_TEST(first[i].alignment == second[i].alignment);
    BOOST_TEST(first[i].block == second[i].block);
  }
}

BOOST_AUTO_TEST_CASE(what_is_odd_about_a_trace_is_counted) {
  checking_resource checked;
  const replay_report report = replayed(written({{trace_call::deallocate, {}, 1, 8, 8, 0x90},
                                                 {trace_call::allocate, {}, 1, 100, 8, 0x10},
                                                 {trace_call::allocate, {}, 1, 50, 8, 0x20},
                                                 {trace_call::failed_allocate, {}, 1, 50, 8, 0},
                                                 {trace_call::deallocate, {}, 1, 99, 8, 0x10},
                                                 {trace_call::allocate, {}, 1, 7, 24, 0x30}}),
                                        &checked);
  BOOST_TEST(report.foreign_frees == 1u);
  BOOST_TEST(report.allocations == 3u);
  BOOST_TEST(report.failed_in_trace == 1u);
  BOOST_TEST(report.mismatched_frees == 1u);
  BOOST_TEST(report.deallocations == 1u);
  BOOST_TEST(report.left_live == 2u);
  BOOST_TEST(report.peak_live_bytes == 150u);
  BOOST_TEST(report.resource_passed());
  BOOST_TEST(checked.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(a_resource_that_refuses_does_not_pass) {
  checking_resource checked;
  cistern::limit_adaptor limited(2'000, &checked);
  const replay_report report = replayed(recorded_life(), &limited);
  BOOST_TEST(!report.resource_passed());
  BOOST_TEST(report.refused > 0u);
  BOOST_TEST(report.allocations == report.deallocations);
  BOOST_TEST(report.peak_live_bytes <= 2'000u);
  BOOST_TEST(checked.outstanding_blocks() == 0u);
}

namespace {

// Gives out overlapping, misaligned pieces of one block.
class faulty_resource final : public std::pmr::memory_resource {
  alignas(64) std::byte storage_[4096]{};
  std::size_t next_ = 1;
  void* do_allocate(std::size_t, std::size_t) override { return &storage_[next_ += 2]; }
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
};

}  // namespace

BOOST_AUTO_TEST_CASE(overlapping_and_misaligned_blocks_are_found) {
  faulty_resource faulty;
  const trace_bytes bytes = written({{trace_call::allocate, {}, 1, 10, 8, 0x10},
                                     {trace_call::allocate, {}, 1, 10, 8, 0x20},
                                     {trace_call::deallocate, {}, 1, 10, 8, 0x20},
                                     {trace_call::deallocate, {}, 1, 10, 8, 0x10}});
  const replay_report report = replayed(bytes, &faulty);
  BOOST_TEST(!report.resource_passed());
  BOOST_TEST(report.misaligned == 2u);
  BOOST_TEST(report.damaged == 1u);
  BOOST_TEST(replayed(bytes, &faulty, {.check_content = false}).damaged == 0u);
}

BOOST_AUTO_TEST_CASE(whatever_is_thrown_no_block_is_left) {
  checking_resource checked;
  throwing_resource throwing(9, &checked);
  BOOST_CHECK_THROW((void)replayed(recorded_life(), &throwing), unusual_error);
  BOOST_TEST(checked.outstanding_blocks() == 0u);

  trace_bytes cut = recorded_life();
  cut.erase(cut.end() - 5, cut.end());
  BOOST_CHECK_THROW((void)replayed(cut, &checked), cistern::trace_error);
  BOOST_TEST(checked.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(a_trace_that_was_cut_off_is_replayed_up_to_there_where_that_is_asked_for) {
  const trace_bytes whole = recorded_life();
  checking_resource checked;
  BOOST_TEST(!replayed(whole, &checked, {.up_to_the_cut = true}).cut_off);
  trace_bytes cut = whole;
  cut.pop_back();
  const replay_report report = replayed(cut, &checked, {.up_to_the_cut = true});
  BOOST_TEST(report.cut_off);
  BOOST_TEST(report.allocations == replayed(whole, &checked).allocations);
  cut[100] ^= std::byte{1};  // Damaged is something else.
  BOOST_CHECK_THROW((void)replayed(cut, &checked, {.up_to_the_cut = true}), cistern::trace_error);
  BOOST_TEST(checked.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(whichever_allocation_of_the_table_fails_no_block_is_left) {
  const trace_bytes bytes = recorded_life();
  checking_resource checked;
  checking_resource checked_memory;
  cistern::testing::failing_resource memory(&checked_memory);
  const auto result = cistern::testing::fail_every_allocation(
      memory, [&] { (void)replayed(bytes, &checked, {.memory = &memory}); },
      [&](std::uint64_t) { BOOST_TEST(checked.outstanding_blocks() == 0u); });
  BOOST_TEST(result.failed_runs > 100u);
}

BOOST_AUTO_TEST_CASE(the_report_as_a_table) {
  replay_report report;
  report.allocations = 1234;
  report.elapsed = std::chrono::microseconds(5);
  std::ostringstream out;
  out << report;
  BOOST_TEST(out.str() ==
             "allocations                         1,234\n"
             "deallocations                           0\n"
             "refused by the resource                 0\n"
             "failed when recorded                    0\n"
             "frees of blocks from before             0\n"
             "frees with other size or alignment      0\n"
             "misaligned                              0\n"
             "damaged                                 0\n"
             "live at the end                         0\n"
             "peak live bytes                         0\n"
             "nanoseconds                         5,000\n");
}

BOOST_AUTO_TEST_CASE(a_reallocation_is_an_allocation_and_a_deallocation) {
  const trace_bytes bytes = written({{trace_call::allocate, {}, 1, 8, 8, 0x10},
                                     {.call = trace_call::reallocate,
                                      .thread = 1,
                                      .bytes = 24,
                                      .alignment = 8,
                                      .address = 0x40,
                                      .old_address = 0x10},
                                     {.call = trace_call::reallocate,
                                      .thread = 1,
                                      .bytes = 32,
                                      .alignment = 16,
                                      .address = 0x80,
                                      .old_address = 0x70},
                                     {.call = trace_call::reallocate,  // Of none: an allocation.
                                      .thread = 1,
                                      .bytes = 0,
                                      .alignment = 8,
                                      .address = 0x90},
                                     {trace_call::deallocate, {}, 1, 24, 8, 0x40}});
  checking_resource memory;
  const replay_report report = replayed(bytes, &memory);
  BOOST_TEST(report.allocations == 4u);
  BOOST_TEST(report.deallocations == 2u);
  BOOST_TEST(report.mismatched_frees == 0u);
  BOOST_TEST(report.foreign_frees == 1u);
  BOOST_TEST(report.left_live == 2u);
  BOOST_TEST(report.peak_live_bytes == 56u);
  BOOST_TEST(memory.allocations() == 4u);
}
