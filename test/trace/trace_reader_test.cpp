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
  append_frame(bytes, events, bytes_of(payload));
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
  found(framed(1, {0x03, 0, 0, 0, 0}), "an unknown call");
  found(framed(1, {0x00}), "an event cut short");
  found(framed(1, {0x00, 0, 0, 0}), "an event cut short");
  found(framed(2, {0x00, 0, 0, 0, 0}), "an event cut short");
  found(framed(1, {0x00, 0, 0, 0, 0, 0}), "more in a frame than its events");
  found(framed(1, {0x04, 0, 0, 0, 0}), "the thread of an event that isn't there");
  found(framed(1, {0x00, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0}),
        "a number too large");
  found(framed(1, {0x00, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x81, 0, 0, 0}),
        "a number too large");
  found(framed(1, {0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0}),
        "an impossible time");

  trace_bytes backwards = trace_header();
  append_frame(backwards, 1, bytes_of({0x00, 9, 0, 0, 0}));
  append_frame(backwards, 1, bytes_of({0x00, 8, 0, 0, 0}));
  found(backwards, "an impossible time");

  trace_bytes bytes = trace_header();
  append_end_mark(bytes, 1);
  found(bytes, "an end mark with another number of events");
  bytes = trace_header();
  append_frame(bytes, 0, {});
  found(bytes, "an end mark with another number of events");
  bytes = framed(1, {0x00, 0, 0, 0, 0});
  bytes.push_back(std::byte{0});
  found(bytes, "something behind the end mark");
  bytes = trace_header();
  append_little_endian(bytes, std::uint32_t{300 << 10});
  append_little_endian(bytes, std::uint32_t{1});
  append_little_endian(bytes, std::uint32_t{0});
  found(bytes, "a frame too large");
  found(trace_header(1, UINT64_MAX), "a start that no clock has");
}

BOOST_AUTO_TEST_CASE(a_later_version_is_refused) {
  const trace_error error = error_of(trace_header(2));
  BOOST_TEST(error.fault() == trace_fault::unknown_version);
  BOOST_TEST(error.what() == "cistern trace: unknown version: a version other than 1 at byte 8");
}

BOOST_AUTO_TEST_CASE(the_same_error_is_thrown_again) {
  const trace_bytes bytes = framed(1, {0x03, 0, 0, 0, 0});
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
      BOOST_TEST(error.offset_bytes() == 36u);
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
