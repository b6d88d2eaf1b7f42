// Writing traces: the bytes are those of the documentation, frames keep to their bounds, and a sink's errors
// come out.
#include <cistern/adaptor/trace.hpp>
#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/adaptor/trace_writer.hpp>
#include <cistern/detail/base/assert.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/trace_support.hpp"

using cistern::trace_call;
using cistern::trace_event;
using cistern::trace_reader;
using cistern::trace_writer;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)
using std::chrono::nanoseconds;

BOOST_AUTO_TEST_CASE(the_bytes_are_those_of_the_documentation) {
  trace_bytes bytes;
  trace_writer writer(trace_to(bytes), 65536, std::chrono::system_clock::time_point(std::chrono::seconds(1)));
  writer.write({trace_call::allocate, nanoseconds(300), 5, 64, 8, 0x100});
  writer.write({trace_call::deallocate, nanoseconds(301), 5, 64, 8, 0x100});
  writer.write({trace_call::failed_allocate, nanoseconds(301), 6, 200, 24});
  writer.write({.call = trace_call::reallocate,
                .time = nanoseconds(302),
                .thread = 6,
                .bytes = 65,
                .alignment = 16384,
                .address = 0x110,
                .old_address = 0x108});
  BOOST_TEST(writer.events() == 4u);
  writer.close();

  trace_bytes expected = trace_header(2, 1'000'000'000);
  append_frame(expected, 5, events_kind,
               bytes_of({0x30, 0xAC, 0x02, 0x05, 0x40, 0x80, 0x04,  // 8 = 2^3, time 300, thread, 64, +256
                         0x39, 0x01, 0x40, 0x00,                    // Same thread, one later, same address.
                         0xF2, 0x00, 0x06, 0x18, 0xC8, 0x01,        // Another thread, 24 as it is, 200.
                         0x0C, 0x01, 0x10,                          // Begins: +8
                         0xED, 0x00, 0x41, 0x10}));                 // Ends: 2^14, 65, +8
  append_end_mark(expected, 5);
  BOOST_TEST((bytes == expected));
}

BOOST_AUTO_TEST_CASE(a_typical_event_takes_few_bytes) {
  std::vector<trace_event> events;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    events.push_back({i % 2 == 0 ? trace_call::allocate : trace_call::deallocate, nanoseconds(i * 80), 123456,
                      64, 8, 0x7f0000000000 + i / 2 % 100 * 64});
  }
  BOOST_TEST(written(events).size() < events.size() * 6);
}

BOOST_AUTO_TEST_CASE(times_that_go_back_are_held) {
  const auto events = events_of(written({{trace_call::allocate, nanoseconds(50), 1, 1, 1, 1},
                                         {trace_call::allocate, nanoseconds(20), 1, 1, 1, 2},
                                         {trace_call::allocate, nanoseconds(-9), 1, 1, 1, 3}}));
  for (const trace_event& event : events) BOOST_TEST((event.time == nanoseconds(50)));
}

BOOST_AUTO_TEST_CASE(the_header_has_version_and_time_of_day) {
  trace_bytes bytes;
  const auto now = std::chrono::system_clock::now();
  trace_writer(trace_to(bytes), 0, now).close();
  const trace_reader reader(cistern::trace_from_memory(bytes));
  BOOST_TEST(reader.version() == 2u);
  BOOST_TEST((reader.started() == now));
}

BOOST_AUTO_TEST_CASE(an_error_of_the_sink_comes_out_of_the_call_that_needed_it) {
  int calls = 0;
  trace_writer writer(
      [&](std::span<const std::byte>) {
        if (++calls == 3) throw std::runtime_error("full");
      },
      0);
  std::size_t events = 0;
  BOOST_CHECK_THROW(for (;; ++events) writer.write({trace_call::allocate, {}, 1, 1, 1, events}),
                    std::runtime_error);
  BOOST_TEST(events == writer.events());
  BOOST_TEST(events > 10u);
}

BOOST_AUTO_TEST_CASE(the_sink_gets_frames_of_at_most_the_buffer_s_size) {
  const auto events = random_events(2'000, 3);
  for (const std::size_t buffer_bytes : {std::size_t{0}, std::size_t{1'000}, std::size_t{100'000'000}}) {
    const std::size_t most_bytes =
        std::clamp(buffer_bytes, trace_writer::least_buffer_bytes, trace_writer::most_buffer_bytes);
    std::size_t largest = 0;
    trace_writer writer([&](std::span<const std::byte> bytes) { largest = std::max(largest, bytes.size()); },
                        buffer_bytes);
    for (const trace_event& event : events) writer.write(event);
    writer.close();
    BOOST_TEST(largest <= most_bytes);
    BOOST_TEST(largest >= std::min(most_bytes, std::size_t{10'000}) / 2);
  }
}

BOOST_AUTO_TEST_CASE(nothing_is_written_before_it_has_to_be) {
  trace_bytes bytes;
  trace_writer writer(trace_to(bytes));
  writer.write({trace_call::allocate, {}, 1, 1, 1, 1});
  BOOST_TEST(bytes.empty());
  writer.flush();
  const std::size_t flushed = bytes.size();
  BOOST_TEST(flushed > trace_header().size());
  writer.flush();  // nothing new
  BOOST_TEST(bytes.size() == flushed);
  writer.close();
  const std::size_t closed = bytes.size();
  BOOST_TEST(closed > flushed);
  writer.close();
  BOOST_TEST(bytes.size() == closed);
}

BOOST_AUTO_TEST_CASE(without_an_end_the_trace_is_truncated) {
  trace_bytes bytes;
  {
    trace_writer writer(trace_to(bytes));
    writer.write({trace_call::allocate, {}, 1, 1, 1, 1});
    writer.flush();
  }
  trace_reader reader(cistern::trace_from_memory(bytes));
  trace_event event;
  BOOST_TEST(reader.next(event));
  BOOST_CHECK_THROW((void)reader.next(event), cistern::trace_error);
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(dies_saying("needs a sink", [] { trace_writer writer(nullptr); }));
    BOOST_TEST(dies_saying("the trace is closed", [] {
      trace_bytes bytes;
      trace_writer writer(trace_to(bytes));
      writer.close();
      writer.close();
      writer.write({});
    }));
  }
}
