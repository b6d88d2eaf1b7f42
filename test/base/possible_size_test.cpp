// Sizes that no object can have.
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/possible_size.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

#include <boost/test/unit_test.hpp>

using cistern::detail::expect_possible_size;

BOOST_AUTO_TEST_CASE(the_largest_possible_size_is_ptrdiff_max) {
  for (const std::size_t possible : {std::size_t{0}, std::size_t{1}, std::size_t{PTRDIFF_MAX}}) {
    BOOST_CHECK_NO_THROW(expect_possible_size(possible));
  }
  for (const std::size_t impossible : {std::size_t{PTRDIFF_MAX} + 1, SIZE_MAX - 63, SIZE_MAX}) {
    BOOST_CHECK_THROW(expect_possible_size(impossible), cistern::bad_allocation);
  }
}

BOOST_AUTO_TEST_CASE(a_refusal_says_what_was_asked_for_and_what_is_held) {
  try {
    expect_possible_size(SIZE_MAX, 42);
    BOOST_ERROR("not refused");
  } catch (const cistern::bad_allocation& refusal) {
    BOOST_TEST(refusal.requested_bytes() == SIZE_MAX);
    BOOST_TEST(std::string(refusal.what()) ==
               "cistern: request is larger than any object can be: 18446744073709551615 bytes requested, "
               "limit 9223372036854775807, held 42");
  }
}
