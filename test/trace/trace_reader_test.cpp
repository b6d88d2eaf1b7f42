// Reading traces: what is there is read, blocks are numbered, and damage is found and named.
#include <cistern/adaptor/trace.hpp>
#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <optional>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/trace_support.hpp"

using cistern::trace_call;
using cistern::trace_error;
using cistern::trace_event;
using cistern::trace_fault;
using cistern::trace_reader;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace cistern {
std::ostream& operator<<(std::ostream& out, trace_fault fault) {
  return out << to_string(fault);
}
}  // namespace cistern

namespace {

// What reading throws; the events before it go to `before`.
trace_error error_of(std::span<const std::byte> bytes, std::vector<trace_event>* before = nullptr) {
  std::vector<trace_event> events;
  std::optional<trace_error> seen;
  try {
    read_into(events, bytes);
  } catch (const trace_error& error) {
    seen = error;
  }
  BOOST_REQUIRE(seen.has_value());
  if (before != nullptr) *before = events;
  return *seen;
}

// A trace of one frame with these bytes in it.
trace_bytes framed(std::uint32_t events, std::initializer_list<int> payload) {
  trace_bytes bytes = trace_header();
  append_frame(bytes, events, events_kind, bytes_of(payload));
  append_end_mark(bytes, events);
  return bytes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_reader_counts_and_knows_what_lives) {
  const trace_bytes bytes =
      written({{trace_call::allocate, {}, 1, 8, 8, 0x10},
               {trace_call::allocate, {}, 1, 8, 8, 0x20},
               {trace_call::deallocate, {}, 1, 8, 8, 0x10},
               {trace_call::deallocate, {}, 1, 8, 8, 0x10},  // Not live.
               {trace_call::allocate, {}, 1, 8, 8, 0x20}});  // In the place of a live one.
  trace_reader reader(cistern::trace_from_memory(bytes));
  std::vector<std::uint64_t> blocks;
  for (trace_event event; reader.next(event);) blocks.push_back(event.block);
  BOOST_TEST(blocks == (std::vector<std::uint64_t>{1, 2, 1, 0, 3}), boost::test_tools::per_element());
  BOOST_TEST(reader.events() == 5u);
  BOOST_TEST(reader.live_blocks() == 1u);
  BOOST_TEST(reader.offset_bytes() == bytes.size());
  trace_event event;
  BOOST_TEST(!reader.next(event));
}

BOOST_AUTO_TEST_CASE(every_truncation_is_found_and_whole_frames_before_it_are_read) {
  const auto events = random_events(100, 5);
  const trace_bytes bytes = written(events, 300);
  std::vector<trace_event> before;
  std::size_t most = 0;
  for (std::size_t left = 0; left < bytes.size(); ++left) {
    const trace_error error = error_of(std::span(bytes).first(left), &before);
    BOOST_TEST(error.fault() == (left < 8 ? trace_fault::not_a_trace : trace_fault::truncated));
    BOOST_TEST(error.offset_bytes() <= left);
    BOOST_REQUIRE(before.size() <= events.size());
    BOOST_TEST(std::equal(before.begin(), before.end(), events.begin()));
    BOOST_TEST(before.size() >= most);
    most = before.size();
  }
  BOOST_TEST(most == events.size());  // Only the end mark was missing.
}

BOOST_AUTO_TEST_CASE(every_changed_bit_is_found) {
  const auto events = random_events(30, 6);
  trace_bytes bytes = written(events, 300);
  std::vector<trace_event> before;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    const trace_error error = error_of(bytes, &before);
    BOOST_TEST(std::equal(before.begin(), before.end(), events.begin()));
    if (bit / 8 < 8) {
      BOOST_TEST(error.fault() == trace_fault::not_a_trace);
    } else if (bit / 8 < 12) {
      BOOST_TEST(error.fault() == trace_fault::unknown_version);
    } else {
      // A frame's length that grew makes the trace seem to end too soon.
      BOOST_TEST((error.fault() == trace_fault::corrupt || error.fault() == trace_fault::truncated));
    }
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
  }
}

BOOST_AUTO_TEST_CASE(what_is_wrong_behind_right_checksums_is_named) {
  const auto found = [](const trace_bytes& bytes, const std::string& what) {
    const trace_error error = error_of(bytes);
    BOOST_TEST(error.fault() == trace_fault::corrupt);
    BOOST_TEST(std::string(error.what()).find("cistern trace: corrupt: " + what + " at byte ") == 0u,
               error.what() << " instead of " << what);
  };
  found(framed(1, {0x07, 0, 0, 0, 0}), "an unknown call");
  found(version_1::framed(1, bytes_of({0x03, 0, 0, 0, 0})), "an unknown call");
  found(framed(1, {0x00}), "an event cut short");
  found(framed(1, {0x00, 0, 0, 0}), "an event cut short");
  found(framed(2, {0x00, 0, 0, 0, 0}), "an event cut short");
  found(framed(1, {0x00, 0, 0, 0, 0, 0}), "more in a frame than its events");
  found(framed(1, {0x08, 0, 0, 0, 0}), "the thread of an event that isn't there");
  found(framed(1, {0x00, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0}),
        "a number too large");
  found(framed(1, {0x00, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x81, 0, 0, 0}),
        "a number too large");
  found(framed(1, {0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0}),
        "an impossible time");

  trace_bytes backwards = trace_header();
  append_frame(backwards, 1, events_kind, bytes_of({0x00, 9, 0, 0, 0}));
  append_frame(backwards, 1, events_kind, bytes_of({0x00, 8, 0, 0, 0}));
  found(backwards, "an impossible time");

  trace_bytes bytes = trace_header();
  append_end_mark(bytes, 1);
  found(bytes, "an end mark with another number of events");
  bytes = trace_header();
  append_frame(bytes, 0, 0, {});
  found(bytes, "an end mark with another number of events");
  bytes = version_1::trace_header();
  version_1::append_frame(bytes, 0, {});
  found(bytes, "an end mark with another number of events");
  bytes = trace_header();
  append_end_mark(bytes, 0, 3);
  found(bytes, "an unknown ending");
  for (const std::uint32_t kind : {0U, 2U, 0x100U, 0x201U}) {
    bytes = trace_header();
    append_frame(bytes, 1, kind, bytes_of({0x00, 0, 0, 0, 0}));
    found(bytes, "a frame of an unknown kind");
  }
  bytes = trace_header();
  append_frame(bytes, 0, events_kind, {});
  found(bytes, "a frame of an unknown kind");
  bytes = trace_header();
  append_frame(bytes, 1, joined_events_kind, bytes_of({0x00, 0, 0, 0, 0}));
  append_end_mark(bytes, 1);
  found(bytes, "an end mark joined to what it ends");
  bytes = trace_header();
  for (int i = 0; i < 65; ++i) append_frame(bytes, 1, joined_events_kind, bytes_of({0x00, 0, 0, 0, 0}));
  found(bytes, "a round of too many frames");
  bytes = trace_header();
  for (int i = 0; i < 5; ++i) append_frame(bytes, 1, joined_events_kind, trace_bytes(256 << 10));
  found(bytes, "a round too large");
  bytes = framed(1, {0x00, 0, 0, 0, 0});
  bytes.push_back(std::byte{0});
  found(bytes, "something behind the end mark");
  bytes = trace_header();
  append_little_endian(bytes, std::uint32_t{300 << 10});
  append_little_endian(bytes, std::uint32_t{1});
  append_little_endian(bytes, std::uint64_t{0});
  found(bytes, "a frame too large");
  found(trace_header(2, UINT64_MAX), "a start that no clock has");
  found(version_1::trace_header(UINT64_MAX), "a start that no clock has");
}

BOOST_AUTO_TEST_CASE(a_later_version_is_refused) {
  const trace_error error = error_of(trace_header(3));
  BOOST_TEST(error.fault() == trace_fault::unknown_version);
  BOOST_TEST(error.what() == "cistern trace: unknown version: a version other than 1 and 2 at byte 8");
}

BOOST_AUTO_TEST_CASE(version_1_is_read) {
  trace_bytes bytes = version_1::trace_header(7);
  version_1::append_frame(bytes, 2,
                          bytes_of({0x18, 10, 5, 0x40, 0x80, 0x04,  // 8 = 2^3, 64, +256
                                    0xFA, 1, 6, 24, 0x40}));        // 24 as it is
  version_1::append_frame(bytes, 1, bytes_of({0x19, 12, 5, 0x40, 0x80, 0x04}));
  version_1::append_end_mark(bytes, 3);
  using std::chrono::nanoseconds;
  const std::vector<trace_event> expected = {{trace_call::allocate, nanoseconds(10), 5, 64, 8, 0x100, 1},
                                             {trace_call::failed_allocate, nanoseconds(11), 6, 64, 24},
                                             {trace_call::deallocate, nanoseconds(12), 5, 64, 8, 0x100, 1}};
  BOOST_TEST((events_of(bytes) == expected));
  for (std::size_t left = 0; left < bytes.size(); ++left) {
    BOOST_TEST(error_of(std::span(bytes).first(left)).offset_bytes() <= left);
  }
}

// Threads of a process write frames of their own; joined, they are what happened up to some time.
BOOST_AUTO_TEST_CASE(joined_frames_are_merged_by_time) {
  trace_bytes bytes = trace_header();
  append_frame(bytes, 2, joined_events_kind,
               bytes_of({0x30, 10, 1, 8, 0x20,  // time 10, thread 1, 8 bytes at 16
                         0x38, 20, 8, 0x00}));  // time 30, in the place of what thread 2 frees then
  append_frame(bytes, 3, events_kind,
               bytes_of({0x30, 20, 2, 8, 0x40,  // time 20, thread 2, 8 bytes at 32
                         0x0B, 10, 0x1F,        // time 30: free at 16
                         0x3A, 5, 9}));         // time 35: none
  append_frame(bytes, 1, events_kind, bytes_of({0x03, 36, 1, 0x40}));
  append_end_mark(bytes, 6, 1);
  trace_reader reader(cistern::trace_from_memory(bytes));
  std::vector<std::uint64_t> times;
  std::vector<std::uint64_t> offsets;
  std::vector<std::uint64_t> blocks;
  for (trace_event event; reader.next(event);) {
    times.push_back(static_cast<std::uint64_t>(event.time.count()));
    blocks.push_back(event.block);
    offsets.push_back(reader.event_offset_bytes());
  }
  BOOST_TEST(times == (std::vector<std::uint64_t>{10, 20, 30, 30, 35, 36}), boost::test_tools::per_element());
  BOOST_TEST(offsets == (std::vector<std::uint64_t>{56, 81, 86, 61, 89, 108}),
             boost::test_tools::per_element());
  BOOST_TEST(blocks == (std::vector<std::uint64_t>{1, 2, 1, 3, 0, 2}), boost::test_tools::per_element());
  BOOST_TEST((reader.ending() == cistern::trace_ending::size_limit));
}

BOOST_AUTO_TEST_CASE(a_free_has_the_size_of_its_block) {
  const auto events = events_of(framed(3, {0x50, 1, 1, 9, 0x20,  // 32 = 2^5, 9 bytes at 16
                                           0x0B, 1, 0x00,        // free
                                           0x0B, 1, 0x00}));     // and once more
  BOOST_REQUIRE(events.size() == 3U);
  BOOST_TEST((events[1].call == trace_call::deallocate));
  BOOST_TEST(events[1].bytes == 9U);
  BOOST_TEST(events[1].alignment == 32U);
  BOOST_TEST(events[1].block == 1U);
  BOOST_TEST(events[2].bytes == 0U);
  BOOST_TEST(events[2].block == 0U);
}

// From the call on the old address may be given to another thread.
BOOST_AUTO_TEST_CASE(a_reallocation_takes_a_while) {
  const auto events = events_of(framed(6, {0x30, 1, 1,    8,  0x20,  // 8 bytes at 16: block 1
                                           0x0C, 1, 0x00,            // thread 1 reallocates it
                                           0x30, 1, 2,    24, 0x00,  // thread 2 gets 24 bytes at 16: block 2
                                           0x35, 1, 1,    16, 0x40,  // thread 1 has 16 bytes at 48: block 3
                                           0x0B, 1, 0x3F,            // free at 16
                                           0x35, 1, 3,    16, 0x60}));  // an end that has no beginning
  BOOST_REQUIRE(events.size() == 5U);
  BOOST_TEST((events[2].call == trace_call::reallocate));
  BOOST_TEST(events[2].old_address == 16U);
  BOOST_TEST(events[2].old_block == 1U);
  BOOST_TEST(events[2].address == 48U);
  BOOST_TEST(events[2].block == 3U);
  BOOST_TEST(events[2].bytes == 16U);
  BOOST_TEST(events[3].block == 2U);
  BOOST_TEST(events[3].bytes == 24U);
  BOOST_TEST((events[4].call == trace_call::reallocate));
  BOOST_TEST(events[4].old_block == 0U);
}

BOOST_AUTO_TEST_CASE(a_reallocation_that_fails_leaves_its_block) {
  const auto events = events_of(framed(4, {0x30, 1, 1, 8, 0x20,  // 8 bytes at 16
                                           0x0C, 1, 0x00,        // thread 1 reallocates it,
                                           0x0E, 1, 99,          // which fails
                                           0x0B, 1, 0x00}));     // free
  BOOST_REQUIRE(events.size() == 3U);
  BOOST_TEST((events[1].call == trace_call::failed_allocate));
  BOOST_TEST(events[1].bytes == 99U);
  BOOST_TEST(events[2].block == 1U);
  BOOST_TEST(events[2].bytes == 8U);
}

BOOST_AUTO_TEST_CASE(the_same_error_is_thrown_again) {
  const trace_bytes bytes = framed(1, {0x07, 0, 0, 0, 0});
  trace_reader reader(cistern::trace_from_memory(bytes));
  trace_event event;
  std::string first;
  for (int i = 0; i < 3; ++i) {
    try {
      (void)reader.next(event);
      BOOST_ERROR("read");
    } catch (const trace_error& error) {
      if (i == 0) first = error.what();
      BOOST_TEST(error.what() == first);
      BOOST_TEST(error.offset_bytes() == 56u);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_source_may_give_a_byte_at_a_time_and_may_fail) {
  const auto events = random_events(50, 10);
  const trace_bytes bytes = written(events, 300);
  std::size_t at = 0;
  std::size_t fails_at = SIZE_MAX;
  const auto drip = [&](std::span<std::byte> into) -> std::size_t {
    if (at == fails_at) throw std::runtime_error("unplugged");
    if (at == bytes.size()) return 0;
    into[0] = bytes[at++];
    return 1;
  };
  trace_reader reader(drip);
  std::vector<trace_event> read;
  for (trace_event event; reader.next(event);) read.push_back(event);
  BOOST_TEST((read == events));

  at = 0;
  fails_at = 100;
  trace_reader unlucky(drip);
  trace_event event;
  BOOST_CHECK_THROW(while (unlucky.next(event)){}, std::runtime_error);
  fails_at = SIZE_MAX;
  BOOST_CHECK_THROW((void)unlucky.next(event), trace_error);
}

BOOST_AUTO_TEST_CASE(whichever_allocation_of_a_reader_fails_it_goes_on_where_it_was) {
  const auto events = random_events(300, 11);
  const trace_bytes bytes = written(events, 300);
  cistern::testing::checking_resource checked;
  cistern::testing::failing_resource memory(&checked);
  const auto result = cistern::testing::fail_every_allocation(memory, [&] {
    trace_reader reader(cistern::trace_from_memory(bytes), &memory);
    std::vector<trace_event> read;
    bool failed = false;
    for (bool more = true; more;) {
      trace_event event;
      try {
        more = reader.next(event);
        if (more) read.push_back(event);
      } catch (const std::bad_alloc&) {
        failed = true;
      }
    }
    BOOST_TEST((read == events));
    if (failed) throw std::bad_alloc();
  });
  BOOST_TEST(result.failed_runs > 50u);
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(dies_saying("needs a source", [] { trace_reader reader(nullptr); }));
  }
}
