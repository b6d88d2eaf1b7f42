// Printing into cistern::buffer with {fmt}: the same text as fmt::format, whole or not at all.
#include <cistern/buffer_fmt.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>

#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <boost/test/unit_test.hpp>
#include <fmt/format.h>

using cistern::buffer;

namespace {

struct own_type {
  operator std::string_view() const { return "text"; }  // NOLINT(google-explicit-constructor)
};

struct fixture {
  cistern::testing::checking_resource memory;
  buffer b{&memory};
};

}  // namespace

template <>
struct fmt::formatter<own_type> : fmt::formatter<int> {
  template <class Context>
  auto format(const own_type& /*unused*/, Context& context) const {
    return fmt::format_to(context.out(), "own");
  }
};

BOOST_FIXTURE_TEST_SUITE(printing_with_fmt, fixture)

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
  b.max_size(10);
  BOOST_CHECK_THROW(cistern::fmt_print(b, "{}", "longer than that"), std::length_error);
  BOOST_TEST(b.view() == "before");
}

template <class... Arguments>
void check_fmt(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  buffer b;
  cistern::fmt_print(b, format, std::forward<Arguments>(arguments)...);
  BOOST_TEST(b.view() == fmt::format(format, std::forward<Arguments>(arguments)...));
}

BOOST_AUTO_TEST_CASE(plain_fields_are_what_fmt_makes_of_them) {
  check_fmt("{}{}{}{}", true, 'c', static_cast<signed char>(-65), static_cast<unsigned char>(200));
  check_fmt("{} {} {}", std::numeric_limits<short>::min(), std::numeric_limits<int>::min(), 7U);
  check_fmt("{} {}", std::numeric_limits<long long>::min(), std::numeric_limits<unsigned long long>::max());
  check_fmt("{} {} {} {}", 0.0, -1e300, 1.0F / 3, 1.0L / 3);
  check_fmt("{} {}", std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity());
  const std::string text = "a string";
  const char short_in_array[10] = "short";
  check_fmt("<{}{}{}{}>", text, std::string_view(text), fmt::string_view("fmt's"), short_in_array);
  check_fmt("{}", text.c_str());
  check_fmt("{}", static_cast<const void*>(nullptr));
  check_fmt("{}", std::string(5'000, 'x'));
  check_fmt("{}", "");
}

BOOST_AUTO_TEST_CASE(other_fields_are_left_to_fmt) {
  check_fmt("no field");
  check_fmt("{{{}}} }}{{", 1);
  check_fmt("{} {:>4}", 1, 2);
  check_fmt("{1} {0}", 1, 2);
  check_fmt("{} {:{}}", 1, 2, 9);
  check_fmt("{x}", fmt::arg("x", 1));
  check_fmt("{}", own_type{});          // a text too, but formatted by a rule of its own
  check_fmt(fmt::runtime("{}"), 1, 2);  // an argument too many
  BOOST_CHECK_THROW(cistern::fmt_print(b, fmt::runtime("{} {"), 1, 2), fmt::format_error);
  BOOST_CHECK_THROW(cistern::fmt_print(b, fmt::runtime("{} }"), 1), fmt::format_error);
  BOOST_CHECK_THROW(cistern::fmt_print(b, "{}", static_cast<const char*>(nullptr)), fmt::format_error);
  BOOST_TEST(b.empty());
}

BOOST_AUTO_TEST_CASE(printing_ends_the_right_to_un_read) {
  b.append("xy");
  b.consume(1);
  cistern::fmt_print(b, "{}", "");
  BOOST_TEST(!b.unread_byte());
  b.consume(1);
  cistern::fmt_print(b, "{}", 1);
  BOOST_TEST(!b.unread_byte());
  BOOST_TEST(b.view() == "1");
}

BOOST_AUTO_TEST_CASE(a_text_as_long_as_max_size_allows) {
  for (const std::size_t limit : {0U, 1U, 63U, 64U, 65U, 1'000U}) {
    for (std::size_t length = limit < 2 ? 0 : limit - 2; length < limit + 3; ++length) {
      buffer limited(&memory);
      limited.max_size(limit);
      const std::string text(length, 't');
      if (length <= limit) {
        cistern::fmt_print(limited, "{}", text);
        BOOST_TEST(limited.view() == text);
      } else {
        BOOST_CHECK_THROW(cistern::fmt_print(limited, "{}", text), std::length_error);
        BOOST_CHECK_THROW(cistern::fmt_print(limited, "{:>1}", text), std::length_error);
        BOOST_TEST(limited.empty());
      }
      BOOST_TEST(limited.check_invariants());
    }
  }
}

BOOST_AUTO_TEST_CASE(no_memory_in_the_middle_of_a_text_appends_nothing) {
  const std::string text(300, 't');
  const auto print_all = [&](buffer& out) { cistern::fmt_print(out, "{} {:>400} {}", 1, "wide", text); };
  const auto print_plain = [&](buffer& out) { cistern::fmt_print(out, "{} {} {}", 1, text, text); };
  for (const auto& print :
       {std::function<void(buffer&)>(print_all), std::function<void(buffer&)>(print_plain)}) {
    cistern::testing::failing_resource failing{&memory};
    buffer target("before", &failing);
    target.consume(2);
    cistern::testing::fail_every_allocation(
        failing, [&] { print(target); },
        [&](std::uint64_t) {
          BOOST_TEST(target.view() == "fore");
          BOOST_TEST(target.check_invariants());
        });
    BOOST_TEST(target.size() > 600U);
  }
}

BOOST_AUTO_TEST_SUITE_END()
