#define BOOST_TEST_MODULE printable_text
#include "../../src/tool/printable_text.hpp"

#include <boost/test/unit_test.hpp>

using cistern::tool::printable;

BOOST_AUTO_TEST_CASE(names_are_utf_8_without_control_characters) {
  BOOST_TEST(printable("größe") == "größe");
  BOOST_TEST(printable("a\xFFz") == "a\uFFFDz");
  BOOST_TEST(printable("a\nb\x1B[0m\x7F") == "a\uFFFDb\uFFFD[0m\uFFFD");
  BOOST_TEST(printable("\xC2\x85") == "\uFFFD");
  BOOST_TEST(printable("\xE2\x82") == "\uFFFD\uFFFD");
  BOOST_TEST(printable("") == "");
}
