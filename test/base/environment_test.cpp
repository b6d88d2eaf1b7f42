// A switch of the environment is on where its variable is "1", and off for anything else.
#include <cistern/detail/base/environment.hpp>

#include <boost/test/unit_test.hpp>

#include "../support/environment_variable.hpp"

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
