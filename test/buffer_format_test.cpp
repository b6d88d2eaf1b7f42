// Formatted output into cistern::buffer: snprintf, {fmt}, and std::format where the library has it.
#include <cistern/buffer_fmt.hpp>
#include <cistern/buffer_format.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <cstdio>
#include <iterator>
#include <stdexcept>
#include <string>

#include <boost/test/unit_test.hpp>
#include <fmt/format.h>

using cistern::buffer;

namespace {

struct fixture {
  cistern::testing::checking_resource memory;
  buffer b{&memory};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(formatting, fixture)

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

BOOST_AUTO_TEST_CASE(with_fmt) {
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    cistern::fmt_print(b, "{} {:>5} {:.3f}\n", i, "name", i * 0.5);
    expected += fmt::format("{} {:>5} {:.3f}\n", i, "name", i * 0.5);
  }
  BOOST_TEST((b.view() == expected));
  cistern::fmt_print(b, "{:>10000}", 'x');  // longer than any room that is there
  BOOST_TEST(b.size() == expected.size() + 10'000);
  BOOST_TEST(b.view().back() == 'x');
}

BOOST_AUTO_TEST_CASE(with_fmt_by_back_inserter) {
  fmt::format_to(std::back_inserter(b), "{}-{}-{}", 1, "two", 3.5);
  BOOST_TEST(b.view() == "1-two-3.5");
}

BOOST_AUTO_TEST_CASE(nothing_is_appended_when_formatting_throws) {
  b.append("before");
  BOOST_CHECK_THROW(cistern::fmt_print(b, fmt::runtime("{} {}"), 1), fmt::format_error);
  BOOST_CHECK_THROW(
      cistern::print_with(b, [](char*, std::size_t) -> std::size_t { throw std::runtime_error("x"); }),
      std::runtime_error);
  BOOST_TEST(b.view() == "before");
  b.max_size(10);
  BOOST_CHECK_THROW(cistern::fmt_print(b, "{}", "longer than that"), std::length_error);
  BOOST_TEST(b.view() == "before");
}

#if defined(__cpp_lib_format)
BOOST_AUTO_TEST_CASE(with_std_format) {
  cistern::print(b, "{} {:>5} {:.3f}", 1, "name", 0.5);
  BOOST_TEST(b.view() == "1  name 0.500");
  cistern::print(b, "{:>10000}", 'x');
  BOOST_TEST(b.size() == 10'013U);
  std::format_to(std::back_inserter(b), "{}", 7);
  BOOST_TEST(b.view().back() == '7');
}
#endif

BOOST_AUTO_TEST_SUITE_END()
