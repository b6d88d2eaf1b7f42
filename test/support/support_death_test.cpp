// The death-test helper tells an abort with the right words from every other end.
#include <cistern/detail/base/assert.hpp>

#include <stdexcept>

#include <boost/test/unit_test.hpp>

#include "death.hpp"

using cistern::test_support::dies_saying;
using cistern::test_support::run_and_die;

BOOST_AUTO_TEST_CASE(an_abort_is_seen_with_its_words) {
  const auto seen = run_and_die([] {
    std::fputs("the reason\n", stderr);
    std::abort();
  });
  BOOST_TEST(seen.aborted);
  BOOST_TEST(seen.stderr_text == "the reason\n");
  BOOST_TEST(seen.description == "aborted");
}

BOOST_AUTO_TEST_CASE(coming_back_is_not_an_abort) {
  const auto seen = run_and_die([] {});
  BOOST_TEST(!seen.aborted);
  BOOST_TEST(seen.description == "exited with 0");
}

BOOST_AUTO_TEST_CASE(an_exception_is_not_an_abort) {
  const auto seen = run_and_die([] { throw std::runtime_error("oops"); });
  BOOST_TEST(!seen.aborted);
  BOOST_TEST(seen.description == "exited with 2");
  BOOST_TEST(seen.stderr_text == "exception: oops\n");
}

BOOST_AUTO_TEST_CASE(the_words_must_match) {
  BOOST_TEST(!dies_saying("another reason", [] { std::abort(); }));
  BOOST_TEST(!dies_saying("", [] {}));
}

BOOST_AUTO_TEST_CASE(a_failed_precondition_names_what_and_the_value) {
  int bad = 7;
  const auto break_it = [bad] { CISTERN_EXPECTS(bad == 8, "must be eight", bad); };
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(dies_saying("cistern: must be eight (value 7) at ", break_it));
  } else {
    break_it();
    BOOST_TEST(bad == 7);
  }
}

BOOST_AUTO_TEST_CASE(a_kept_precondition_passes) {
  CISTERN_EXPECTS(true, "never seen", 0);
  BOOST_TEST(!run_and_die([] { CISTERN_EXPECTS(true, "never seen", 0); }).aborted);
}

BOOST_AUTO_TEST_CASE(a_crash_ends_the_child_and_is_not_an_abort) {
  const auto seen = run_and_die([] { std::raise(SIGSEGV); });
  BOOST_TEST(!seen.aborted);
  BOOST_TEST(seen.description == "killed by signal 11");
}
