// Every operation of cistern::buffer that allocates, with every allocation failing: nothing changes, nothing
// leaks.
#include <cistern/buffer.hpp>
#include <cistern/buffer_dynamic_view.hpp>
#include <cistern/buffer_stream.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <sys/socket.h>
#include <unistd.h>

using cistern::buffer;
using cistern::testing::checking_resource;
using cistern::testing::fail_every_allocation;
using cistern::testing::failing_resource;
using cistern::testing::failure_mode;

namespace {

struct operation {
  const char* name;
  std::function<void(buffer&)> run;
};

std::ostream& operator<<(std::ostream& out, const operation& o) {
  return out << o.name;
}

const std::string long_text(3'000, 'l');

/// A stream that throws what its buffer threw.
std::ostream& stream_over(buffer& b) {
  static std::optional<cistern::buffer_ostream> out;
  out.emplace(b);
  out->exceptions(std::ios_base::badbit);
  return *out;
}

const operation operations[] = {
    {"append", [](buffer& b) { b.append(long_text); }},
    {"append bytes", [](buffer& b) { b.append(std::as_bytes(std::span(long_text))); }},
    {"append range", [](buffer& b) { b.append(long_text.data(), long_text.data() + long_text.size()); }},
    {"append own", [](buffer& b) { b.append(b.view()); }},
    {"append what was read", [](buffer& b) { b.append(std::string_view(b.view().data() - 10, 60)); }},
    {"push_back", [](buffer& b) { b.push_back('x'); }},
    {"append_utf8", [](buffer& b) { b.append_utf8(U'x'); }},
    {"put_be", [](buffer& b) { b.put_be(std::uint64_t{1}); }},
    {"put_le", [](buffer& b) { b.put_le(std::uint8_t{1}); }},
    {"prepend", [](buffer& b) { b.prepend(long_text); }},
    {"prepend own", [](buffer& b) { b.prepend(b.view()); }},
    {"prepare", [](buffer& b) { (void)b.prepare(1); }},
    {"reserve_more", [](buffer& b) { b.reserve_more(1); }},
    {"copy construction", [](buffer& b) { buffer copy(b, b.get_allocator()); }},
    {"copy assignment", [](buffer& b) { b = buffer(long_text); }},
    {"move from unequal", [](buffer& b) { b = buffer(long_text); }},
    {"view prepare", [](buffer& b) { (void)cistern::buffer_dynamic_view(b).prepare(1); }},
    {"view grow", [](buffer& b) { cistern::buffer_dynamic_view(b).grow(1); }},
    {"ostream text", [](buffer& b) { stream_over(b) << long_text; }},
    {"ostream character", [](buffer& b) { stream_over(b).put('x'); }},
};

const std::string unread(102, 'u');

/// 112 bytes in a block of 112, 10 of them read: whatever writes has to move to a larger block.
buffer full_buffer(std::pmr::memory_resource* memory) {
  buffer b("0123456789" + unread, memory);
  b.consume(10);
  return b;
}

constexpr failure_mode modes[] = {failure_mode::once, failure_mode::from_then_on};

struct fixture {
  checking_resource memory;
  failing_resource failing{&memory};
};

}  // namespace

BOOST_DATA_TEST_CASE(a_failed_operation_changes_nothing, boost::unit_test::data::make(operations)) {
  for (const failure_mode mode : modes) {
    fixture f;
    buffer b = full_buffer(&f.failing);
    const char* const data = b.view().data();
    const auto unchanged = [&](std::uint64_t) {
      BOOST_TEST(b.view() == unread);
      BOOST_TEST(b.capacity() == 112U);
      BOOST_TEST(static_cast<const void*>(b.view().data()) == static_cast<const void*>(data));
      BOOST_TEST(f.memory.outstanding_blocks() == 1U);
      BOOST_TEST(b.unread_byte());  // even the right to un-read
      b.consume(1);
    };
    fail_every_allocation(f.failing, [&] { sample.run(b); }, unchanged, {.mode = mode});
  }
}

BOOST_AUTO_TEST_CASE(a_failed_shrink_to_fit_changes_nothing) {
  fixture f;
  buffer b = full_buffer(&f.failing);
  b.consume(90);
  fail_every_allocation(
      f.failing, [&] { b.shrink_to_fit(); },
      [&](std::uint64_t) {
        BOOST_TEST(b.size() == 12U);
        BOOST_TEST(b.capacity() == 112U);
      });
  BOOST_TEST(b.capacity() == 16U);
}

BOOST_AUTO_TEST_CASE(a_failed_move_between_unequal_resources_leaves_both_as_they_were) {
  fixture f;
  checking_resource other;
  buffer from = full_buffer(&other);
  buffer to("previous", &f.failing);
  fail_every_allocation(
      f.failing, [&] { to = std::move(from); },
      [&](std::uint64_t) {
        BOOST_TEST(from.view() == unread);  // NOLINT(bugprone-use-after-move): promised
        BOOST_TEST(to.view() == "previous");
      });
  BOOST_TEST(to.view() == unread);
  from = full_buffer(&other);
  fail_every_allocation(
      f.failing, [&] { const buffer moved(std::move(from), &f.failing); },
      [&](std::uint64_t) { BOOST_TEST(from.view() == unread); });
  BOOST_TEST(from.empty());
}

BOOST_AUTO_TEST_CASE(construction_leaks_nothing) {
  fixture f;
  fail_every_allocation(f.failing, [&] { const buffer b(long_text, &f.failing); });
  BOOST_TEST(f.memory.outstanding_blocks() == 0U);
}

// --- input: what was read before the failure stays, and what was not read is still in the source ---

BOOST_AUTO_TEST_CASE(reading_from_a_callable_loses_nothing) {
  for (const failure_mode mode : modes) {
    for (const std::size_t at_a_time : {1U, 500U, 100'000U}) {
      fixture f;
      buffer b(&f.failing);
      const std::string text(20'000, 't');
      std::size_t taken = 0;
      const auto source = [&](std::span<std::byte> room) {
        const std::size_t n =
            text.copy(reinterpret_cast<char*>(room.data()), std::min(room.size(), at_a_time), taken);
        taken += n;
        return n;
      };
      fail_every_allocation(
          f.failing, [&] { b.read_from(source); }, [&](std::uint64_t) { BOOST_TEST(b.size() == taken); },
          {.mode = mode});
      BOOST_TEST((b.view() == text));
    }
  }
}

BOOST_AUTO_TEST_CASE(reading_from_a_stream_loses_nothing) {
  for (const failure_mode mode : modes) {
    fixture f;
    buffer b(&f.failing);
    const std::string text(20'000, 't');
    std::istringstream in(text);
    fail_every_allocation(
        f.failing, [&] { b.read_from(in); },
        [&](std::uint64_t) { BOOST_TEST(b.size() == static_cast<std::size_t>(in.tellg())); }, {.mode = mode});
    BOOST_TEST((b.view() == text));
  }
}

BOOST_AUTO_TEST_CASE(reading_from_a_descriptor_loses_nothing) {
  const std::string text(20'000, 't');
  for (const bool socket : {false, true}) {
    fixture f;
    buffer b(&f.failing);
    int ends[2];
    BOOST_REQUIRE((socket ? ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : ::pipe(ends)) == 0);
    BOOST_REQUIRE(::write(ends[1], text.data(), text.size()) == 20'000);
    ::close(ends[1]);
    std::size_t before = 0;
    fail_every_allocation(
        f.failing, [&] { b.read_from(ends[0]); },
        [&](std::uint64_t) {
          BOOST_TEST(b.size() >= before);
          BOOST_TEST(b.view() == text.substr(0, b.size()));
          before = b.size();
        });
    BOOST_TEST((b.view() == text));
    ::close(ends[0]);
  }
}
