// Text of unknown length behind a buffer's bytes: nothing of it shows before the end, and a failure on the
// way leaves the buffer as it was.
#include <cistern/buffer.hpp>
#include <cistern/detail/base/asan_tail.hpp>
#include <cistern/detail/bytes/tail_writer.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <cstddef>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include <boost/test/unit_test.hpp>

using cistern::buffer;
using cistern::detail::tail_writer;

namespace {

struct fixture {
  cistern::testing::checking_resource checked;
  cistern::testing::failing_resource memory{&checked};
  buffer bytes{&memory};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(suite, fixture)

BOOST_AUTO_TEST_CASE(what_is_finished_is_the_buffer_s) {
  bytes.append("head ");
  {
    tail_writer tail(bytes);
    BOOST_TEST(tail.room_bytes() >= 64U);
    std::memcpy(tail.begin(), "and tail", 8);
    BOOST_TEST(bytes.view() == "head ");
    tail.finish(8);
  }
  BOOST_TEST(bytes.view() == "head and tail");
  BOOST_TEST(bytes.check_invariants());
}

BOOST_AUTO_TEST_CASE(what_is_not_finished_is_forgotten) {
  bytes.append("head");
  {
    const tail_writer tail(bytes);
    std::memset(tail.begin(), 'x', tail.room_bytes());
  }
  BOOST_TEST(bytes.view() == "head");
  bytes.append("!");
  BOOST_TEST(bytes.view() == "head!");
  BOOST_TEST(bytes.check_invariants());
}

BOOST_AUTO_TEST_CASE(growing_keeps_what_was_written_and_what_was_there) {
  bytes.append("head ");
  std::string expected;
  {
    tail_writer tail(bytes);
    std::size_t written = 0;
    for (std::size_t wanted = 1; wanted <= 20'000; wanted *= 3) {
      if (tail.room_bytes() < wanted) tail.grow(written, wanted);
      BOOST_REQUIRE(tail.room_bytes() >= wanted);
      for (; written < wanted; ++written) {
        const char c = static_cast<char>('a' + written % 26);
        tail.begin()[written] = c;
        expected += c;
      }
      BOOST_TEST(std::string(tail.begin(), written) == expected);
    }
    tail.finish(written);
  }
  BOOST_TEST(bytes.view() == "head " + expected);
  BOOST_TEST(bytes.check_invariants());
}

BOOST_AUTO_TEST_CASE(without_memory_nothing_changes) {
  memory.fail_nth(1);
  BOOST_CHECK_THROW(tail_writer{bytes}, std::bad_alloc);
  BOOST_TEST(bytes.empty());
  bytes.append("head");
  {
    tail_writer tail(bytes);
    std::memcpy(tail.begin(), "tail", 4);
    memory.fail_nth(1);
    BOOST_CHECK_THROW(tail.grow(4, 100'000), std::bad_alloc);
    BOOST_TEST(std::string(tail.begin(), 4) == "tail");
    tail.finish(4);
  }
  BOOST_TEST(bytes.view() == "headtail");
  BOOST_TEST(bytes.check_invariants());
}

BOOST_AUTO_TEST_CASE(the_bound_holds) {
  bytes.max_size(100);
  bytes.append(std::string(90, 'x'));
  {
    tail_writer tail(bytes);
    BOOST_CHECK_THROW(tail.grow(0, 11), std::length_error);
    tail.grow(0, 10);
    BOOST_REQUIRE(tail.room_bytes() >= 10U);
    std::memset(tail.begin(), 'y', 10);
    tail.finish(10);
  }
  BOOST_TEST(bytes.size() == 100U);
  const tail_writer full(bytes);  // there may be no room at all
  BOOST_TEST(bytes.size() == 100U);
}

BOOST_AUTO_TEST_SUITE_END()
