// Formatted output into cistern::buffer: what writes as snprintf does, and std::format where the library has
// it.
#include <cistern/buffer_format.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

#include <boost/test/unit_test.hpp>

#include "../support/mortal.hpp"
#include <pthread.h>

using cistern::buffer;
using cistern::testing::fail_every_allocation;
using cistern::testing::failing_resource;

namespace {

struct fixture {
  cistern::testing::checking_resource memory;
  buffer b{&memory};
};

/// Writes `text` as snprintf writes its text: what fits, and the length of all of it.
auto writes(std::string_view text) {
  return [text](char* out, std::size_t room_bytes) {
    text.copy(out, room_bytes);
    return text.size();
  };
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(formatting, fixture)

BOOST_AUTO_TEST_CASE(a_writer_may_end_its_thread) {
  for (const bool by_exit : {false, true}) {
    b = buffer("kept", &memory);
    BOOST_TEST(cistern::test_support::is_cancelled_in([&] {
                 cistern::print_with(b, [&](char* out, std::size_t) {
                   *out = '?';
                   if (by_exit) ::pthread_exit(nullptr);
                   cistern::test_support::cancel_this_thread();
                   return std::size_t{1};
                 });
               }) == !by_exit);
    BOOST_TEST(b.view() == "kept");
    BOOST_TEST(b.check_invariants());
    cistern::print_with(b, writes("!"));
    BOOST_TEST(b.view() == "kept!");
  }
}

BOOST_AUTO_TEST_CASE(with_snprintf) {
  for (int i = 0; i < 100; ++i) {
    // The last byte of the room is for the terminator, which isn't part of the text.
    cistern::print_with(b, [&](char* out, std::size_t n) {
      char text[32];
      const int length = std::snprintf(text, sizeof text, "%d;", i);
      std::copy_n(text, std::min(n, static_cast<std::size_t>(length)), out);
      return static_cast<std::size_t>(length);
    });
  }
  BOOST_TEST(b.view().substr(0, 10) == "0;1;2;3;4;");
  BOOST_TEST(b.view().substr(b.size() - 6) == "98;99;");
}

BOOST_AUTO_TEST_CASE(a_text_longer_than_the_room_is_written_again) {
  const std::string text(10'000, 't');
  b.append("before ");
  cistern::print_with(b, writes(text));
  BOOST_TEST((b.view() == "before " + text));
}

BOOST_AUTO_TEST_CASE(a_writer_that_uses_the_buffer_meanwhile_is_refused) {
  b.append("before");
  BOOST_CHECK_THROW(cistern::print_with(b, [&](char*, std::size_t) { return b.append("x"), std::size_t{3}; }),
                    std::logic_error);
  BOOST_TEST(b.view() == "beforex");
  const auto prepares = [&](char*, std::size_t room_bytes) {
    b.append("y");
    (void)b.prepare(room_bytes);
    return std::size_t{3};
  };
  BOOST_CHECK_THROW(cistern::print_with(b, prepares), std::logic_error);
  BOOST_TEST(b.view() == "beforexy");
  BOOST_TEST(b.check_invariants());
}

BOOST_AUTO_TEST_CASE(nothing_is_appended_when_writing_fails) {
  b.append("before");
  const auto broken = [](char*, std::size_t) -> std::size_t { throw std::runtime_error("x"); };
  BOOST_CHECK_THROW(cistern::print_with(b, broken), std::runtime_error);
  b.max_size(10);
  BOOST_CHECK_THROW(cistern::print_with(b, writes("too long")), std::length_error);
  const auto endless = [](char*, std::size_t) { return std::numeric_limits<std::size_t>::max(); };
  BOOST_CHECK_THROW(cistern::print_with(b, endless), std::length_error);
  BOOST_TEST(b.view() == "before");
  cistern::print_with(b, writes("fits"));
  BOOST_TEST(b.view() == "beforefits");
}

BOOST_AUTO_TEST_SUITE_END()

#if defined(__cpp_lib_format)

namespace {

/// Fails in the middle of its text.
struct breaks_off {};

}  // namespace

template <>
struct std::formatter<breaks_off> : std::formatter<std::string_view> {
  template <class Context>
  auto format(const breaks_off& /*unused*/, Context& context) const -> decltype(context.out()) {
    std::formatter<std::string_view>::format("some of it", context);
    throw std::format_error("broken off");
  }
};

BOOST_FIXTURE_TEST_SUITE(printing_with_std_format, fixture)

BOOST_AUTO_TEST_CASE(the_same_text_as_std_format) {
  cistern::print(b, "{} {:>5} {:.3f}", 1, "name", 0.5);
  BOOST_TEST(b.view() == std::format("{} {:>5} {:.3f}", 1, "name", 0.5));
  cistern::print(b, "{:>10000}", 'x');  // longer than any room that is there
  BOOST_TEST(b.size() == 10'013U);
  BOOST_TEST(b.view().back() == 'x');
  cistern::print(b, "no field");
  BOOST_TEST(b.view().ends_with("xno field"));
}

BOOST_AUTO_TEST_CASE(by_back_inserter) {
  std::format_to(std::back_inserter(b), "{}-{}", 1, "two");
  BOOST_TEST(b.view() == "1-two");
}

BOOST_AUTO_TEST_CASE(an_error_in_the_middle_of_a_text_appends_nothing) {
  b.append("before");
  b.consume(2);
  BOOST_CHECK_THROW(cistern::print(b, "{} {}", 1, breaks_off{}), std::format_error);
  BOOST_CHECK_THROW(cistern::print(b, "{:>1000} {}", 1, breaks_off{}), std::format_error);
  BOOST_TEST(b.view() == "fore");
  BOOST_TEST(b.check_invariants());
}

BOOST_AUTO_TEST_CASE(a_text_beyond_max_size_is_a_length_error) {
  b.max_size(1'000);
  cistern::print(b, "{:>999}", 'x');
  cistern::print(b, "{}", 'y');
  BOOST_TEST(b.size() == 1'000U);
  BOOST_CHECK_THROW(cistern::print(b, "{}", 'z'), std::length_error);
  BOOST_CHECK_THROW(cistern::print(b, "{:>1000000}", 'z'), std::length_error);
  BOOST_TEST(b.size() == 1'000U);
  BOOST_TEST(b.view().ends_with("xy"));
}

BOOST_AUTO_TEST_CASE(no_memory_appends_nothing) {
  failing_resource failing(&memory);
  buffer target("before", &failing);
  fail_every_allocation(
      failing, [&] { cistern::print(target, "{:>400} {:>400}", 1, "wide"); },
      [&](std::uint64_t) { BOOST_TEST(target.view() == "before"); });
  BOOST_TEST(target.size() == 807U);
}

BOOST_AUTO_TEST_SUITE_END()

#endif
