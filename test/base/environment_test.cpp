// A switch of the environment is on where its variable is "1", and off for anything else; a number is one in
// digits.
#include <cistern/detail/base/environment.hpp>

#include <cstdint>

#include <boost/test/unit_test.hpp>

#include "../support/environment_variable.hpp"

using cistern::detail::environment_number;
using cistern::detail::environment_sample_guard;
using cistern::detail::environment_says_pass_through;
using cistern::detail::environment_switches_on;
using cistern::test_support::environment_variable;

BOOST_AUTO_TEST_CASE(only_a_one_switches_on) {
  constexpr const char* name = "CISTERN_TEST_SWITCH";
  for (const char* off : {static_cast<const char*>(nullptr), "", "0", "11", " 1", "1 ", "yes", "true"}) {
    const environment_variable set(name, off);
    BOOST_TEST_INFO("set to " << (off != nullptr ? off : "nothing"));
    BOOST_TEST(!environment_switches_on(name));
  }
  const environment_variable set(name, "1");
  BOOST_TEST(environment_switches_on(name));
  BOOST_TEST(!environment_switches_on("CISTERN_TEST_SWITC"));
  BOOST_TEST(!environment_switches_on("CISTERN_TEST_SWITCHES"));
}

BOOST_AUTO_TEST_CASE(it_is_read_each_time) {
  const environment_variable off("CISTERN_PASS_THROUGH", nullptr);
  BOOST_TEST(!environment_says_pass_through());
  {
    const environment_variable on("CISTERN_PASS_THROUGH", "1");
    BOOST_TEST(environment_says_pass_through());
  }
  BOOST_TEST(!environment_says_pass_through());
}

BOOST_AUTO_TEST_CASE(a_number_is_digits_and_nothing_else) {
  constexpr const char* name = "CISTERN_TEST_NUMBER";
  for (const char* none : {static_cast<const char*>(nullptr), "", "0", "-1", "+1", " 1", "1 ", "0x10", "1e3",
                           "many", "18446744073709551616"}) {
    const environment_variable set(name, none);
    BOOST_TEST_INFO("set to " << (none != nullptr ? none : "nothing"));
    BOOST_TEST(environment_number(name) == 0u);
  }
  const environment_variable set(name, "18446744073709551615");
  BOOST_TEST(environment_number(name) == SIZE_MAX);
}

BOOST_AUTO_TEST_CASE(the_sample_guard_is_off_where_it_is_not_set) {
  const environment_variable off("CISTERN_SAMPLE_GUARD", nullptr);
  BOOST_TEST(environment_sample_guard() == 0u);
  const environment_variable on("CISTERN_SAMPLE_GUARD", "1000");
  BOOST_TEST(environment_sample_guard() == 1000u);
}
