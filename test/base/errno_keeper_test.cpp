// `errno` is at the end of a scope what it was at its beginning, however the scope ends.
#include <cistern/detail/base/errno_keeper.hpp>

#include <cerrno>
#include <stdexcept>

#include <boost/test/unit_test.hpp>

using cistern::detail::errno_keeper;

BOOST_AUTO_TEST_CASE(what_happens_meanwhile_is_forgotten) {
  for (const int before : {0, ENOMEM}) {
    errno = before;
    int meanwhile = 0;
    {
      const errno_keeper keeper;
      errno = EINVAL;
      meanwhile = errno;
    }
    const int after = errno;
    BOOST_TEST(meanwhile == EINVAL);  // the scope itself may use it
    BOOST_TEST(after == before);
  }
}

BOOST_AUTO_TEST_CASE(an_exception_ends_it_too) {
  errno = ERANGE;
  int after = 0;
  try {
    const errno_keeper keeper;
    errno = EINVAL;
    throw std::runtime_error("");
  } catch (const std::runtime_error&) {
    after = errno;
  }
  BOOST_TEST(after == ERANGE);
}
