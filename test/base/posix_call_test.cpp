// A call that a signal interrupts is made again; any other result is handed on with its `errno`.
#include "../../src/base/posix_call.hpp"

#include <cerrno>

#include <boost/test/unit_test.hpp>

using cistern::detail::without_interruption;

BOOST_AUTO_TEST_CASE(an_interrupted_call_is_repeated) {
  int calls = 0;
  const ssize_t result = without_interruption([&]() -> ssize_t {
    errno = EINTR;
    return ++calls < 4 ? -1 : 17;
  });
  BOOST_TEST(result == 17);
  BOOST_TEST(calls == 4);
}

BOOST_AUTO_TEST_CASE(other_failures_and_results_are_not) {
  int calls = 0;
  const ssize_t failure = without_interruption([&]() -> ssize_t {
    ++calls;
    errno = EBADF;
    return -1;
  });
  const int error = errno;
  BOOST_TEST(failure == -1);
  BOOST_TEST(error == EBADF);
  errno = EINTR;  // of a call before: zero is a result
  BOOST_TEST(without_interruption([&]() -> ssize_t { return ++calls, 0; }) == 0);
  BOOST_TEST(calls == 2);
}
