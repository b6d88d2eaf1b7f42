// Threads that are cancelled in the resource of a buffer, a chain or a byte_lease. Plan: in each of its calls
// in turn, of programs with all that gives memory back; nothing is lost, and what outlives the thread can be
// used.
#include <cistern/buffer.hpp>
#include <cistern/byte_lease.hpp>
#include <cistern/chain.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <cstddef>
#include <memory_resource>
#include <string>
#include <utility>

#include <boost/test/unit_test.hpp>

#include "../support/cancelling_resource.hpp"
#include "../support/mortal.hpp"

using cistern::buffer;
using cistern::byte_lease;
using cistern::chain;
using cistern::test_support::cancel_in_every_call;
using cistern::test_support::cancelling_resource;
using cistern::test_support::is_cancelled_in;
using cistern::testing::checking_resource;

BOOST_AUTO_TEST_CASE(buffers_give_their_blocks_back) {
  const auto calls = cancel_in_every_call([](std::pmr::memory_resource* resource) {
    buffer one(resource);
    one.append(std::string(100, 'x'));
    one.append(std::string(9000, 'x'));
    one.prepend(std::string(30000, 'y'));
    one.consume(39000);
    one.shrink_to_fit();
    buffer copy(one, resource);
    copy = one;
    copy = buffer(resource);
  });
  BOOST_TEST(calls >= 8U);
}

BOOST_AUTO_TEST_CASE(a_buffer_gives_back_what_it_read_nothing_into) {
  const auto calls = cancel_in_every_call([](std::pmr::memory_resource* resource) {
    buffer one(resource);
    one.append("x");
    (void)one.read_from([](auto /*room*/) { return std::size_t{0}; });
  });
  BOOST_TEST(calls >= 3U);
}

BOOST_AUTO_TEST_CASE(chains_give_their_blocks_back) {
  const auto calls = cancel_in_every_call([](std::pmr::memory_resource* resource) {
    chain one(resource);
    one.append(std::string(9000, 'x'));
    (void)one.prepare(20000);
    one.commit(3);
    one.prepend("z");
    chain other = one.split(5000);
    other.splice(std::move(one));
    other.consume(8000);
    other.shrink_to_fit();
    buffer adopted(resource);
    adopted.append(std::string(3000, 'y'));
    other.adopt(std::move(adopted));
    (void)other.flatten();
  });
  BOOST_TEST(calls >= 12U);
}

BOOST_AUTO_TEST_CASE(leases_give_their_bytes_back) {
  const auto calls = cancel_in_every_call([](std::pmr::memory_resource* resource) {
    byte_lease one(resource, 100);
    one.give_back();
    (void)one.allocate(1000);
    one = byte_lease(resource, 10);
  });
  BOOST_TEST(calls >= 6U);
}

// The bytes are those that a call left behind that went on to its end.
BOOST_AUTO_TEST_CASE(what_grew_meanwhile_is_whole) {
  checking_resource below;
  {
    cancelling_resource resource(&below, 3);  // the free of the first block
    buffer grown(&resource);
    BOOST_TEST(is_cancelled_in([&] {
      grown.append(std::string(100, 'x'));
      grown.append(std::string(9000, 'y'));
    }));
    BOOST_TEST(grown.view() == std::string(100, 'x') + std::string(9000, 'y'));
    BOOST_TEST(grown.check_invariants());
    grown.append("z");
    BOOST_TEST(grown.size() == 9101U);
  }
  BOOST_TEST(below.outstanding_blocks() == 0U);
}

BOOST_AUTO_TEST_CASE(a_given_back_lease_is_empty) {
  checking_resource below;
  cancelling_resource resource(&below, 2);
  byte_lease one(&resource, 100);
  BOOST_TEST(is_cancelled_in([&] { one.give_back(); }));
  BOOST_TEST(!one.holds_bytes());
  BOOST_TEST(one.allocate(10).size() == 10U);
}
