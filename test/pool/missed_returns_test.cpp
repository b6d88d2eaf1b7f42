// missed_returns: regions that go and come time after time.
#include <cistern/detail/pool/missed_returns.hpp>

#include <boost/test/unit_test.hpp>

using cistern::detail::missed_returns;

BOOST_AUTO_TEST_CASE(growth_alone_misses_nothing) {
  missed_returns returns;
  for (int i = 1; i < 10; ++i) returns.took(1);
  BOOST_TEST(!returns.recur());
}

BOOST_AUTO_TEST_CASE(what_is_missed_twice_in_a_row_recurs) {
  missed_returns returns;
  returns.gave(100);
  returns.took(100 + 512);
  BOOST_TEST(!returns.recur());
  returns.gave(700);
  returns.took(700);
  returns.took(700);
  BOOST_TEST(returns.recur());
  returns.gave(800);
  BOOST_TEST(returns.recur());
  returns.took(800);
  BOOST_TEST(returns.recur());
}

BOOST_AUTO_TEST_CASE(what_is_missed_late_does_not) {
  missed_returns returns;
  for (int i = 1; i < 10; ++i) {
    returns.gave(100);
    returns.took(100 + 513);
  }
  BOOST_TEST(!returns.recur());
}

BOOST_AUTO_TEST_CASE(nor_what_is_missed_after_more_has_gone) {
  missed_returns returns;
  for (int i = 1; i < 10; ++i) {
    returns.gave(100);
    returns.gave(100);
    returns.took(100);
    returns.took(100);
  }
  BOOST_TEST(!returns.recur());
}

BOOST_AUTO_TEST_CASE(a_fall_ends_it) {
  missed_returns returns;
  for (int i = 1; i < 10; ++i) {
    returns.gave(100);
    returns.took(100);
  }
  returns.gave(200);
  BOOST_TEST(returns.recur());
  returns.gave(200);
  BOOST_TEST(!returns.recur());
}
