// Whatever kind of misuse it is, one handler hears of it, and the process ends.
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/misuse.hpp>
#include <cistern/misuse_handler.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <cstdio>
#include <functional>
#include <memory_resource>
#include <string>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include <unistd.h>

using cistern::test_support::death;
using cistern::test_support::dies_saying;
using cistern::test_support::run_and_die;

namespace {

void say_it_differently(const char* text) noexcept {
  std::fprintf(stderr, "handled <%s>", text);
}

void leave(const char* text) noexcept {
  say_it_differently(text);
  ::_exit(3);
}

/// Whether `misuse`, heard of by a handler that ends the process itself, is told by a text with this in it.
bool is_heard_as(const std::string& words, const std::function<void()>& misuse) {
  const death seen = run_and_die([&] {
    cistern::set_misuse_handler(leave);
    misuse();
  });
  const bool is_right = seen.description == "exited with 3" &&
                        seen.stderr_text.starts_with("handled <cistern:") &&
                        seen.stderr_text.ends_with('>') && seen.stderr_text.find(words) != std::string::npos;
  if (!is_right)
    std::fprintf(stderr, "%s, saying \"%s\"\n", seen.description.c_str(), seen.stderr_text.c_str());
  return is_right;
}

}  // namespace

BOOST_AUTO_TEST_CASE(without_a_handler_the_line_goes_to_stderr) {
  const death seen = run_and_die([] { cistern::detail::misuse_found("cistern: that was wrong"); });
  BOOST_TEST(seen.aborted);
  BOOST_TEST(seen.stderr_text == "cistern: that was wrong\n");
}

BOOST_AUTO_TEST_CASE(a_handler_hears_it_instead) {
  const death seen = run_and_die([] {
    cistern::set_misuse_handler(leave);
    cistern::detail::misuse_found("cistern: that was wrong");
  });
  BOOST_TEST(seen.description == "exited with 3");
  BOOST_TEST(seen.stderr_text == "handled <cistern: that was wrong>");
}

BOOST_AUTO_TEST_CASE(the_process_ends_where_a_handler_returns) {
  BOOST_TEST(dies_saying("handled <cistern: that was wrong>", [] {
    cistern::set_misuse_handler(say_it_differently);
    cistern::detail::misuse_found("cistern: that was wrong");
  }));
}

BOOST_AUTO_TEST_CASE(the_handler_before_is_returned) {
  BOOST_TEST((cistern::set_misuse_handler(leave) == nullptr));
  BOOST_TEST((cistern::set_misuse_handler(say_it_differently) == leave));
  BOOST_TEST((cistern::set_misuse_handler(nullptr) == say_it_differently));
  BOOST_TEST(dies_saying("cistern: that was wrong\n",
                         [] { cistern::detail::misuse_found("cistern: that was wrong"); }));
}

BOOST_AUTO_TEST_CASE(every_kind_of_misuse_is_heard) {
  BOOST_TEST(is_heard_as("free with the wrong size", [] {
    cistern::guarding_adaptor guarding({}, std::pmr::new_delete_resource());
    guarding.deallocate(guarding.allocate(100), 10);
  }));
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(is_heard_as("alignment is not a power of two (value 24)", [] {
      cistern::unsynchronized_pool_resource pool;
      (void)pool.allocate(100, 24);
    }));
  }
}
