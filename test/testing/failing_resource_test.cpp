// failing_resource fails exactly the allocations it was told to.
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <string>

#include <boost/test/unit_test.hpp>

using cistern::testing::checking_resource;
using cistern::testing::failing_resource;

namespace {

// One letter per allocation: 'f'ailed or 'o'k.
std::string outcome_of(failing_resource& resource, int allocations) {
  std::string outcome;
  for (int i = 0; i < allocations; ++i) {
    try {
      resource.deallocate(resource.allocate(16, 8), 16, 8);
      outcome += 'o';
    } catch (const std::bad_alloc&) {
      outcome += 'f';
    }
  }
  return outcome;
}

}  // namespace

BOOST_AUTO_TEST_CASE(not_armed_at_first) {
  failing_resource resource;
  BOOST_TEST(!resource.armed());
  BOOST_TEST(outcome_of(resource, 5) == "ooooo");
  BOOST_TEST(resource.attempts() == 5u);
  BOOST_TEST(resource.failures() == 0u);
}

BOOST_AUTO_TEST_CASE(fails_the_nth_once) {
  failing_resource resource;
  resource.fail_nth(3);
  BOOST_TEST(resource.armed());
  BOOST_TEST(outcome_of(resource, 6) == "oofooo");
  BOOST_TEST(!resource.armed());
  BOOST_TEST(resource.attempts() == 6u);
  BOOST_TEST(resource.failures() == 1u);
}

BOOST_AUTO_TEST_CASE(fails_the_nth_and_all_after_until_disarmed) {
  failing_resource resource;
  resource.fail_from_nth(2);
  BOOST_TEST(outcome_of(resource, 5) == "offff");
  BOOST_TEST(resource.armed());
  resource.disarm();
  BOOST_TEST(outcome_of(resource, 2) == "oo");
  BOOST_TEST(resource.failures() == 4u);
}

BOOST_AUTO_TEST_CASE(can_be_armed_again_at_any_time) {
  failing_resource resource;
  resource.fail_nth(1);
  BOOST_TEST(outcome_of(resource, 2) == "fo");
  resource.fail_nth(4);
  BOOST_TEST(outcome_of(resource, 2) == "oo");
  resource.fail_nth(2);  // Counts from here.
  BOOST_TEST(outcome_of(resource, 3) == "ofo");
  resource.fail_from_nth(1);
  resource.fail_nth(0);
  BOOST_TEST(!resource.armed());
  BOOST_TEST(outcome_of(resource, 2) == "oo");
}

BOOST_AUTO_TEST_CASE(a_failed_allocation_never_reaches_upstream) {
  checking_resource upstream;
  failing_resource resource(&upstream);
  resource.fail_from_nth(1);
  BOOST_TEST(outcome_of(resource, 3) == "fff");
  BOOST_TEST(upstream.allocations() == 0u);
  BOOST_TEST(upstream.failed_allocations() == 0u);
}

BOOST_AUTO_TEST_CASE(deallocation_always_goes_through_with_its_arguments) {
  checking_resource upstream;  // Aborts on a wrong size or alignment.
  failing_resource resource(&upstream);
  void* const p = resource.allocate(48, 32);
  resource.fail_from_nth(1);
  resource.deallocate(p, 48, 32);
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(null_upstream_is_new_delete_and_equality_is_identity) {
  failing_resource one;
  failing_resource other;
  BOOST_TEST(one.upstream_resource() == std::pmr::new_delete_resource());
  BOOST_TEST(one.is_equal(one));
  BOOST_TEST(!one.is_equal(other));
}
