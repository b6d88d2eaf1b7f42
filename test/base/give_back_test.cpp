// give_back. Plan: a thread that is cancelled in the resource, one that was before, one that holds
// cancellation off itself; what the resource throws. That pools are known is tested with them.
#include <cistern/detail/base/give_back.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <cstddef>
#include <memory_resource>
#include <stdexcept>

#include <boost/test/unit_test.hpp>

#include "../support/cancelling_resource.hpp"
#include "../support/mortal.hpp"
#include <pthread.h>

using cistern::detail::give_back;
using cistern::test_support::cancelling_resource;
using cistern::test_support::is_cancelled_in;
using cistern::testing::checking_resource;

namespace {

int cancellation_state() {
  int state = 0;
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
  ::pthread_setcancelstate(state, nullptr);
  return state;
}

/// Throws where it is to take something back.
class refuses_frees final : public std::pmr::memory_resource {
  void* do_allocate(std::size_t /*bytes*/, std::size_t /*alignment*/) override { return this; }
  void do_deallocate(void* /*block*/, std::size_t /*bytes*/, std::size_t /*alignment*/) override {
    throw std::logic_error("not mine");
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_thread_is_cancelled_when_the_block_is_back) {
  checking_resource below;
  cancelling_resource resource(&below, 2);
  bool is_back = false;
  BOOST_TEST(is_cancelled_in([&] {
    void* const block = resource.allocate(100, 16);
    give_back(resource, block, 100, 16);
    is_back = below.outstanding_blocks() == 0;
  }));
  BOOST_TEST(is_back);
}

BOOST_AUTO_TEST_CASE(a_request_from_before_waits_too) {
  checking_resource below;
  cancelling_resource resource(&below, 0);
  bool is_back = false;
  BOOST_TEST(is_cancelled_in([&] {
    void* const block = resource.allocate(100, 16);
    ::pthread_cancel(::pthread_self());
    give_back(resource, block, 100, 16);
    is_back = below.outstanding_blocks() == 0;
  }));
  BOOST_TEST(is_back);
}

BOOST_AUTO_TEST_CASE(the_state_is_as_before) {
  checking_resource resource;
  for (const int state : {PTHREAD_CANCEL_DISABLE, PTHREAD_CANCEL_ENABLE}) {
    ::pthread_setcancelstate(state, nullptr);
    give_back(resource, resource.allocate(1), 1, alignof(std::max_align_t));
    BOOST_TEST(cancellation_state() == state);
    refuses_frees refuses;
    BOOST_CHECK_THROW(give_back(refuses, &refuses, 1, 1), std::logic_error);
    BOOST_TEST(cancellation_state() == state);
  }
}

BOOST_AUTO_TEST_CASE(memory_of_new_goes_back) {
  std::pmr::memory_resource& resource = *std::pmr::new_delete_resource();
  give_back(resource, resource.allocate(64, 64), 64,
            64);  // a leak, or another size, is AddressSanitizer's to find
}
