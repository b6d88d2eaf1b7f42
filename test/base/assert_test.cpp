// A broken precondition ends a checked program with a message that says what, with which value, and where; in
// an unchecked one nothing of it is evaluated.
#include <cistern/detail/base/assert.hpp>

#include <climits>
#include <string>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

using cistern::detail::checked_build;
using cistern::test_support::dies_saying;

BOOST_AUTO_TEST_CASE(the_message_has_words_value_and_place) {
  BOOST_TEST(dies_saying("cistern: too few spoons (value 3) at kitchen.cpp:12\n", [] {
    cistern::detail::precondition_failed("too few spoons", 3, "kitchen.cpp", 12);
  }));
  BOOST_TEST(dies_saying("(value " + std::to_string(ULLONG_MAX) + ")", [] {
    cistern::detail::precondition_failed("much", ULLONG_MAX, "kitchen.cpp", 12);
  }));
}

BOOST_AUTO_TEST_CASE(what_is_met_passes) {
  int evaluated = 0;
  CISTERN_EXPECTS(++evaluated > 0, "never", 0);
  BOOST_TEST(evaluated == (checked_build ? 1 : 0));
}

BOOST_AUTO_TEST_CASE(what_is_not_met_ends_a_checked_program) {
  const auto broken = [] { CISTERN_EXPECTS(1 > 2, "one is not more than two", 1); };
  if constexpr (checked_build) {
    BOOST_TEST(dies_saying("cistern: one is not more than two (value 1) at ", broken));
    BOOST_TEST(dies_saying("assert_test.cpp:", broken));
  } else {
    broken();
  }
}

BOOST_AUTO_TEST_CASE(it_is_one_statement) {
  const bool asked = false;
  bool otherwise = false;
  if (asked)
    CISTERN_EXPECTS(!asked, "never asked", 0);
  else
    otherwise = true;
  BOOST_TEST(otherwise);
}
