// A line of text put together in place: numbers as they are, what doesn't fit cut off, one line on stderr.
#include "../../src/base/signal_text.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

using cistern::detail::signal_text;

BOOST_AUTO_TEST_CASE(numbers_are_written_as_they_are) {
  signal_text text;
  text.add("n=").add_number(0).add(" ").add_number(UINT64_MAX);
  BOOST_TEST(text.text() == "n=0 18446744073709551615");
}

BOOST_AUTO_TEST_CASE(one_byte_is_one_byte) {
  signal_text text;
  text.add_bytes(0).add(", ").add_bytes(1).add(", ").add_bytes(22);
  BOOST_TEST(text.text() == "0 bytes, 1 byte, 22 bytes");
}

BOOST_AUTO_TEST_CASE(addresses_are_hexadecimal) {
  signal_text text;
  text.add_address(nullptr).add(" ").add_address(reinterpret_cast<const void*>(0x7fff00ab));
  text.add(" ").add_address(reinterpret_cast<const void*>(UINTPTR_MAX));
  BOOST_TEST(text.text() == "0x0 0x7fff00ab 0xffffffffffffffff");
}

BOOST_AUTO_TEST_CASE(times_are_in_seconds_to_the_microsecond) {
  signal_text text;
  text.add_seconds(999).add(" ").add_seconds(1'000).add(" ").add_seconds(61'023'456'789);
  BOOST_TEST(text.text() == "0.000000 s 0.000001 s 61.023456 s");
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_cut_off) {
  signal_text text;
  const std::string part(100, 'x');
  for (int i = 0; i < 20; ++i) text.add(part);
  const std::size_t held = text.text().size();
  BOOST_TEST(held >= 600u);
  text.add("more").add_number(7);
  BOOST_TEST(text.text().size() == held);
  const auto seen = cistern::test_support::run_and_die([&] { text.write_to_stderr(); });
  BOOST_TEST(seen.stderr_text == std::string(held, 'x') + '\n');
}

BOOST_AUTO_TEST_CASE(nobody_to_tell_is_no_error) {
  const auto seen = cistern::test_support::run_and_die([] {
    ::close(STDERR_FILENO);
    signal_text().add("unheard").write_to_stderr();
  });
  BOOST_TEST(seen.description == "exited with 0");
}
