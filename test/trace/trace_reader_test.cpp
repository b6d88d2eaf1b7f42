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
#include "../support/mortal.hpp"
#include "../support/trace_support.hpp"
#include <pthread.h>

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
  for (const std::uint32_t kind : {0U, 5U, 0x100U, 0x102U, 0x103U, 0x201U}) {
    bytes = trace_header();
    append_frame(bytes, 1, kind, bytes_of({0x00, 0, 0, 0, 0}));
    found(bytes, "a frame of an unknown kind");
  }
  for (const std::uint32_t kind : {events_kind, modules_kind, stacks_kind, events_with_stacks_kind}) {
    bytes = trace_header();
    append_frame(bytes, 0, kind, {});
    found(bytes, "a frame of an unknown kind");
  }
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

namespace {

// Three modules and three stacks, in two rounds of calls.
trace_bytes trace_with_stacks() {
  trace_bytes bytes = trace_header();
  append_frame(bytes, 2, modules_kind,
               bytes_of({0x80, 0x20, 2, 1, '/', 'a', 0xAB,  // at 4096
                         0, 0, 0}));                        // nothing is known of it
  append_frame(bytes, 2, stacks_kind,
               bytes_of({2, 1, 0x10, 2, 0xFF, 0x01,  // 16 in the first, 255 in the second
                         1, 0, 5}));                 // 5 in none
  append_frame(bytes, 2, joined_events_with_stacks_kind,
               bytes_of({0x30, 1, 1, 8, 0x20, 1,  // 8 bytes at 16, by stack 1
                         0x3A, 9, 8, 2}));        // none, by stack 2
  append_frame(bytes, 2, events_with_stacks_kind,
               bytes_of({0x04, 2, 2, 0x20,           // a reallocation begins,
                         0x35, 1, 2, 9, 0x40, 1}));  // and ends: thread 2, 9 bytes at 48, by stack 1
  append_frame(bytes, 1, modules_kind, bytes_of({0, 1, 0, 'b'}));
  append_frame(bytes, 1, stacks_kind, bytes_of({1, 3, 7}));
  append_frame(bytes, 2, events_with_stacks_kind,
               bytes_of({0x03, 20, 1, 0x60, 3,  // free at 48, by stack 3
                         0x32, 1, 1, 8, 0}));   // none, by a stack that isn't known
  append_frame(bytes, 1, events_kind, bytes_of({0x02, 21, 1, 8}));
  append_end_mark(bytes, 7);
  return bytes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(calls_say_from_where_they_came) {
  const trace_bytes bytes = trace_with_stacks();
  trace_reader reader(cistern::trace_from_memory(bytes));
  BOOST_TEST(!reader.has_stacks());
  trace_event event;
  BOOST_REQUIRE(reader.next(event));
  BOOST_TEST(reader.has_stacks());
  BOOST_TEST(reader.stacks().stacks() == 2U);
  std::vector<std::uint64_t> stacks{event.stack};
  while (reader.next(event)) stacks.push_back(event.stack);
  BOOST_TEST(stacks == (std::vector<std::uint64_t>{1, 1, 2, 3, 0, 0}), boost::test_tools::per_element());

  const cistern::trace_stacks& all = reader.stacks();
  const auto places = [&](std::uint64_t number) {
    return std::vector(all.stack(number).begin(), all.stack(number).end());
  };
  using cistern::trace_place;
  BOOST_TEST((places(0).empty()));
  BOOST_TEST((places(1) == std::vector<trace_place>{{1, 16}, {2, 255}}));
  BOOST_TEST((places(2) == std::vector<trace_place>{{0, 5}}));
  BOOST_TEST((places(3) == std::vector<trace_place>{{3, 7}}));
  BOOST_REQUIRE(all.modules() == 3U);
  BOOST_TEST(all.module(1).path == "/a");
  BOOST_TEST(all.module(1).load_address == 4096U);
  BOOST_REQUIRE(all.module(1).build_id.size() == 1U);
  BOOST_TEST((all.module(1).build_id[0] == std::byte{0xAB}));
  BOOST_TEST(all.module(2).path.empty());
  BOOST_TEST(all.module(2).build_id.empty());
  BOOST_TEST(all.module(3).path == "b");
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(dies_saying("no such stack", [&] { (void)all.stack(4); }));
    BOOST_TEST(dies_saying("no such module", [&] { (void)all.module(0); }));
    BOOST_TEST(dies_saying("no such module", [&] { (void)all.module(4); }));
  }
}

BOOST_AUTO_TEST_CASE(every_truncation_and_every_changed_bit_of_a_trace_with_stacks_is_found) {
  trace_bytes bytes = trace_with_stacks();
  const auto events = events_of(bytes);
  std::vector<trace_event> before;
  const auto check = [&](std::span<const std::byte> damaged) {
    (void)error_of(damaged, &before);
    BOOST_REQUIRE(before.size() <= events.size());
    BOOST_TEST(std::equal(before.begin(), before.end(), events.begin()));
  };
  for (std::size_t left = 0; left < bytes.size(); ++left) check(std::span(bytes).first(left));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    check(bytes);
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
  }
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_stacks_is_named) {
  const auto found = [](const trace_bytes& bytes, const std::string& what, std::size_t at_bytes) {
    const trace_error error = error_of(bytes);
    BOOST_TEST(error.what() == "cistern trace: corrupt: " + what + " at byte " + std::to_string(at_bytes));
  };
  const auto one = [](std::uint32_t kind, std::uint32_t entries, const trace_bytes& payload) {
    trace_bytes bytes = trace_header();
    append_frame(bytes, entries, kind, payload);
    append_end_mark(bytes, 0);
    return bytes;
  };
  found(one(modules_kind, 1, bytes_of({0, 1, 0})), "an entry cut short", 59);
  found(one(modules_kind, 1, bytes_of({0, 1})), "an entry cut short", 58);
  found(one(modules_kind, 1, bytes_of({0, 0, 0, 0})), "more in a frame than its entries", 59);
  found(one(modules_kind, 1, bytes_of({0, 0x81, 0x20, 0})), "a module with too long a name", 56);
  found(one(modules_kind, 1, bytes_of({0, 0, 65})), "a module with too long a name", 56);
  found(one(stacks_kind, 1, bytes_of({0})), "a stack of an impossible depth", 56);
  found(one(stacks_kind, 1, bytes_of({0x81, 2})), "a stack of an impossible depth", 56);
  found(one(stacks_kind, 1, bytes_of({1, 1, 0})), "a module that isn't there", 56);
  found(one(stacks_kind, 2, bytes_of({1, 0, 0, 1, 0})), "an entry cut short", 61);
  found(one(events_with_stacks_kind, 1, bytes_of({0x30, 1, 1, 8, 0x20, 1})), "a stack that isn't there", 56);
  found(one(events_with_stacks_kind, 1, bytes_of({0x30, 1, 1, 8, 0x20})), "an event cut short", 61);
  found(one(events_kind, 1, bytes_of({0x30, 1, 1, 8, 0x20, 1})), "more in a frame than its events", 61);

  trace_bytes bytes = trace_header();
  append_frame(bytes, 1, joined_events_kind, bytes_of({0x30, 1, 1, 8, 0x20}));
  append_frame(bytes, 1, stacks_kind, bytes_of({1, 0, 0}));
  found(bytes, "a table joined to events", 61);

  // What a reader would have to hold is bounded.
  bytes = trace_header();
  const trace_bytes shallow = bytes_of({1, 0, 0});
  trace_bytes many;
  for (int i = 0; i < 65'536; ++i) many.insert(many.end(), shallow.begin(), shallow.end());
  append_frame(bytes, 65'536, stacks_kind, many);
  append_frame(bytes, 65'536, stacks_kind, many);
  const std::size_t end_bytes = bytes.size();
  append_frame(bytes, 1, stacks_kind, shallow);
  found(bytes, "too many stacks", end_bytes + 16);
  bytes = trace_header();
  trace_bytes deep = bytes_of({0x80, 2});
  deep.resize(deep.size() + 512);
  many.clear();
  for (int i = 0; i < 256; ++i) many.insert(many.end(), deep.begin(), deep.end());
  for (int i = 0; i < 32; ++i) append_frame(bytes, 256, stacks_kind, many);
  const std::size_t full_bytes = bytes.size();
  append_frame(bytes, 1, stacks_kind, shallow);
  found(bytes, "too many stacks", full_bytes + 16);
  bytes = trace_header();
  many.assign(3 * 65'536, std::byte{0});
  append_frame(bytes, 65'536, modules_kind, many);
  const std::size_t modules_end_bytes = bytes.size();
  append_frame(bytes, 1, modules_kind, bytes_of({0, 0, 0}));
  found(bytes, "too many modules", modules_end_bytes + 16);
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

BOOST_AUTO_TEST_CASE(a_source_may_end_its_thread) {
  const auto events = random_events(50, 10);
  const trace_bytes bytes = written(events, 300);
  for (const bool by_exit : {false, true}) {
    cistern::testing::checking_resource memory;
    std::size_t at = 0;
    std::size_t ends_at = 100;
    const auto drip = [&](std::span<std::byte> into) -> std::size_t {
      if (at == ends_at && by_exit) ::pthread_exit(nullptr);
      if (at == ends_at) cancel_this_thread();
      if (at == bytes.size()) return 0;
      into[0] = bytes[at++];
      return 1;
    };
    trace_reader reader(drip, &memory);
    trace_event event;
    BOOST_TEST(is_cancelled_in([&] {
                 while (reader.next(event)) {
                 }
               }) == !by_exit);
    BOOST_TEST(at == 100U);
    ends_at = SIZE_MAX;
    BOOST_CHECK_THROW((void)reader.next(event), trace_error);
  }
}

namespace {

// Reads all of a trace, which has these events, going on after each allocation that failed; whether one did.
bool read_in_spite_of_failures(trace_reader& reader, const std::vector<trace_event>& events) {
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
  return failed;
}

}  // namespace

BOOST_AUTO_TEST_CASE(whichever_allocation_of_a_reader_fails_it_goes_on_where_it_was) {
  const auto events = random_events(300, 11);
  const trace_bytes bytes = written(events, 300);
  cistern::testing::checking_resource checked;
  cistern::testing::failing_resource memory(&checked);
  const auto result = cistern::testing::fail_every_allocation(memory, [&] {
    trace_reader reader(cistern::trace_from_memory(bytes), &memory);
    const bool failed = read_in_spite_of_failures(reader, events);
    if (failed) throw std::bad_alloc();
  });
  BOOST_TEST(result.failed_runs > 50u);
}

BOOST_AUTO_TEST_CASE(whichever_allocation_fails_stacks_are_there_once) {
  const trace_bytes bytes = trace_with_stacks();
  const auto events = events_of(bytes);
  cistern::testing::checking_resource checked;
  cistern::testing::failing_resource memory(&checked);
  const auto result = cistern::testing::fail_every_allocation(memory, [&] {
    trace_reader reader(cistern::trace_from_memory(bytes), &memory);
    const bool failed = read_in_spite_of_failures(reader, events);
    BOOST_TEST(reader.stacks().stacks() == 3U);
    BOOST_TEST(reader.stacks().modules() == 3U);
    BOOST_TEST(reader.stacks().stack(1).size() == 2U);
    BOOST_TEST(reader.stacks().module(3).path == "b");
    if (failed) throw std::bad_alloc();
  });
  BOOST_TEST(result.failed_runs > 5u);
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(dies_saying("needs a source", [] { trace_reader reader(nullptr); }));
  }
}
