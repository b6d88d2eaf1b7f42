// The text of a refusal: what was asked for and why not, in whole or cut short, and the same in every copy.
#include <cistern/bad_allocation.hpp>

#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <type_traits>

#include <boost/test/unit_test.hpp>

using cistern::bad_allocation;

static_assert(std::is_base_of_v<std::bad_alloc, bad_allocation>);
static_assert(
    std::is_nothrow_constructible_v<bad_allocation, const char*, std::size_t, std::size_t, std::size_t>);
static_assert(std::is_nothrow_copy_constructible_v<bad_allocation>);

BOOST_AUTO_TEST_CASE(it_says_what_was_asked_for_and_why_not) {
  const bad_allocation error("max_bytes reached", 100, 4096, 4000);
  BOOST_TEST(error.what() ==
             std::string("cistern: max_bytes reached: 100 bytes requested, limit 4096, held 4000"));
  BOOST_TEST(error.requested_bytes() == 100U);
}

BOOST_AUTO_TEST_CASE(it_says_what_the_request_would_have_taken) {
  const bad_allocation error("max_bytes reached", 100, 112, 4096, 4000);
  BOOST_TEST(
      error.what() ==
      std::string("cistern: max_bytes reached: 100 bytes requested, which take 112, limit 4096, held 4000"));
  BOOST_TEST(error.requested_bytes() == 100U);
}

BOOST_AUTO_TEST_CASE(the_largest_numbers_fit) {
  const bad_allocation error("request is larger than any object can be", SIZE_MAX, SIZE_MAX, SIZE_MAX);
  const std::string largest = std::to_string(SIZE_MAX);
  BOOST_TEST(error.what() == "cistern: request is larger than any object can be: " + largest +
                                 " bytes requested, limit " + largest + ", held " + largest);
  const bad_allocation longest("max_bytes reached", SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX);
  BOOST_TEST(longest.what() == "cistern: max_bytes reached: " + largest + " bytes requested, which take " +
                                   largest + ", limit " + largest + ", held " + largest);
}

BOOST_AUTO_TEST_CASE(a_text_too_long_is_cut_short) {
  const std::string reason(10'000, 'x');
  const bad_allocation error(reason.c_str(), 1, 2, 3);
  const std::string text = error.what();
  BOOST_TEST(text.size() < sizeof(bad_allocation));
  BOOST_TEST(text == ("cistern: " + reason).substr(0, text.size()));
  BOOST_TEST(error.requested_bytes() == 1U);
}

BOOST_AUTO_TEST_CASE(copies_have_a_text_of_their_own) {
  std::string text;
  std::exception_ptr caught;
  try {
    throw bad_allocation("first", 1, 2, 3);
  } catch (const std::bad_alloc& error) {
    text = error.what();
    caught = std::current_exception();
  }
  const bad_allocation other("second", 4, 5, 6);
  const bad_allocation copy = other;
  BOOST_TEST(copy.what() == std::string(other.what()));
  BOOST_TEST(static_cast<const void*>(copy.what()) != static_cast<const void*>(other.what()));
  BOOST_CHECK_EXCEPTION(std::rethrow_exception(caught), bad_allocation,
                        [&](const bad_allocation& error) { return error.what() == text; });
}
