// The trace format: what is written is read, byte for byte as documented, and damage is found and named.
#include <cistern/adaptor/trace.hpp>
#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/adaptor/trace_writer.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/trace_support.hpp"
#include <unistd.h>

using cistern::trace_call;
using cistern::trace_error;
using cistern::trace_event;
using cistern::trace_fault;
using cistern::trace_reader;
using cistern::trace_writer;
using namespace cistern::test_support;
using std::chrono::nanoseconds;

namespace cistern {
std::ostream& operator<<(std::ostream& out, trace_fault fault) {
  return out << to_string(fault);
}
}  // namespace cistern

namespace {

std::vector<trace_event> random_events(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto number = [&] { return random() >> random() % 64; };  // Of every length.
  std::vector<trace_event> events;
  std::uint64_t time = 0;
  std::vector<std::uint64_t> addresses;
  for (std::size_t i = 0; i < count; ++i) {
    trace_event event;
    event.call = static_cast<trace_call>(random() % 3);
    time += random() >> (20 + random() % 44);
    event.time = nanoseconds(time);
    event.thread = random() % 3 == 0 ? number() : random() % 3;
    event.bytes = number();
    event.alignment = random() % 8 == 0 ? number() : std::uint64_t{1} << random() % 64;
    if (event.call != trace_call::failed_allocate) {
      event.address =
          random() % 2 == 0 || addresses.empty() ? number() : addresses[random() % addresses.size()];
      addresses.push_back(event.address);
    }
    events.push_back(event);
  }
  number_blocks(events);
  return events;
}

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

trace_bytes bytes_of(std::initializer_list<int> values) {
  trace_bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

// A trace of one frame with these bytes in it.
trace_bytes framed(std::uint32_t events, std::initializer_list<int> payload) {
  trace_bytes bytes = trace_header();
  append_frame(bytes, events, bytes_of(payload));
  append_end_mark(bytes, events);
  return bytes;
}

class temporary_file {
 public:
  temporary_file()
      : path_(std::filesystem::temp_directory_path() / ("cistern-trace-" + std::to_string(::getpid()))) {}
  ~temporary_file() { std::filesystem::remove(path_); }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  for (const std::size_t buffer_bytes : {0u, 300u, 65536u, 100'000'000u}) {
    for (const std::size_t count : {0u, 1u, 2u, 1000u}) {
      const auto events = random_events(count, count + buffer_bytes);
      BOOST_TEST((events_of(written(events, buffer_bytes)) == events));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_bytes_are_those_of_the_documentation) {
  trace_bytes bytes;
  trace_writer writer(trace_to(bytes), 65536, std::chrono::system_clock::time_point(std::chrono::seconds(1)));
  writer.write({trace_call::allocate, nanoseconds(300), 5, 64, 8, 0x100});
  writer.write({trace_call::deallocate, nanoseconds(301), 5, 64, 8, 0x100});
  writer.write({trace_call::failed_allocate, nanoseconds(301), 6, 200, 24});
  BOOST_TEST(writer.events() == 3u);
  writer.close();

  trace_bytes expected = trace_header(1, 1'000'000'000);
  append_frame(expected, 3,
               bytes_of({0x18, 0xAC, 0x02, 0x05, 0x40, 0x80, 0x04,  // 8 = 2^3, time 300, thread, 64, +256
                         0x1D, 0x01, 0x40, 0x00,                    // Same thread, one later, same address.
                         0xFA, 0x00, 0x06, 0x18, 0xC8, 0x01}));     // Another thread, 24 as it is, 200.
  append_end_mark(expected, 3);
  BOOST_TEST((bytes == expected));
}

BOOST_AUTO_TEST_CASE(the_checksum_is_the_usual_one) {
  const std::string digits = "123456789";
  BOOST_TEST(slow_crc32(std::as_bytes(std::span(digits))) == 0xCBF43926u);
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
  BOOST_TEST(reader.version() == 1u);
  BOOST_TEST((reader.started() == now));
}

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

// --- Damage ---

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

// --- Where traces come from and go to ---

BOOST_AUTO_TEST_CASE(files) {
  const temporary_file file;
  const auto events = random_events(500, 8);
  {
    trace_writer writer(cistern::trace_to_file(file.path()), 1000);
    for (const trace_event& event : events) writer.write(event);
    writer.close();
  }
  trace_reader reader(cistern::trace_from_file(file.path()));
  std::vector<trace_event> read;
  for (trace_event event; reader.next(event);) read.push_back(event);
  BOOST_TEST((read == events));
  BOOST_CHECK_THROW((void)cistern::trace_from_file("/no/such/folder/trace"), std::system_error);
  BOOST_CHECK_THROW((void)cistern::trace_to_file("/no/such/folder/trace"), std::system_error);
  BOOST_CHECK_THROW(trace_reader(cistern::trace_from_file("/")), std::system_error);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error) {
  if (!std::filesystem::exists("/dev/full")) return;
  trace_writer writer(cistern::trace_to_file("/dev/full"));
  BOOST_CHECK_THROW(writer.close(), std::system_error);
}

BOOST_AUTO_TEST_CASE(streams) {
  const auto events = random_events(500, 9);
  std::stringstream stream;
  trace_writer writer(cistern::trace_to_stream(stream), 1000);
  for (const trace_event& event : events) writer.write(event);
  writer.close();
  trace_reader reader(cistern::trace_from_stream(stream));
  std::vector<trace_event> read;
  for (trace_event event; reader.next(event);) read.push_back(event);
  BOOST_TEST((read == events));

  std::ostringstream broken;
  broken.setstate(std::ios_base::badbit);
  trace_writer failing(cistern::trace_to_stream(broken));
  BOOST_CHECK_THROW(failing.flush(), std::ios_base::failure);
  std::istringstream bad;
  bad.setstate(std::ios_base::badbit);
  BOOST_CHECK_THROW(trace_reader(cistern::trace_from_stream(bad)), std::ios_base::failure);
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
    BOOST_TEST(dies_saying("needs a sink", [] { trace_writer writer(nullptr); }));
    BOOST_TEST(dies_saying("needs a source", [] { trace_reader reader(nullptr); }));
    BOOST_TEST(dies_saying("the trace is closed", [] {
      trace_bytes bytes;
      trace_writer writer(trace_to(bytes));
      writer.close();
      writer.close();
      writer.write({});
    }));
  }
}
