// The error codes of object pools as std::error_code, and the exception that carries them.
#include <cistern/pool_error.hpp>

#include <set>
#include <stdexcept>
#include <string>
#include <system_error>

#include <boost/test/unit_test.hpp>

using namespace cistern;

BOOST_AUTO_TEST_CASE(codes_are_error_codes_of_one_category) {
  const std::error_code code = pool_errc::timeout;
  BOOST_TEST(&code.category() == &pool_category());
  BOOST_TEST(std::string(code.category().name()) == "cistern.object_pool");
  BOOST_TEST((code == pool_errc::timeout));
  BOOST_TEST((code != pool_errc::closed));
  BOOST_TEST(bool(make_error_code(pool_errc::closed)));  // no code means success
}

BOOST_AUTO_TEST_CASE(every_code_has_a_message_of_its_own) {
  std::set<std::string> messages;
  for (const auto code : {pool_errc::closed, pool_errc::timeout, pool_errc::cancelled, pool_errc::exhausted,
                          pool_errc::would_deadlock, pool_errc::factory_failed}) {
    BOOST_TEST(messages.insert(make_error_code(code).message()).second);
  }
  BOOST_TEST(pool_category().message(99) == "unknown error 99");
}

BOOST_AUTO_TEST_CASE(the_exception_carries_code_text_cause_and_holders) {
  const auto cause = std::make_exception_ptr(std::runtime_error("refused"));
  const pool_error error(pool_errc::timeout, "waited in vain", cause,
                         {{source_location::current(), duration{5}}});
  const std::system_error& base = error;
  BOOST_TEST((base.code() == pool_errc::timeout));
  BOOST_TEST(std::string(error.what()).starts_with("waited in vain"));
  BOOST_CHECK_THROW(std::rethrow_exception(error.cause()), std::runtime_error);
  BOOST_REQUIRE(error.holders().size() == 1U);
  BOOST_TEST(error.holders()[0].acquired_at.line() + 6 == static_cast<unsigned>(__LINE__));
}
