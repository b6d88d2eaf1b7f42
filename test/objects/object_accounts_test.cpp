// The books of an object pool: every object that came is there, or left for a reason.
#include <cistern/detail/objects/object_accounts.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <new>

#include <boost/test/unit_test.hpp>

#include "../support/idle_slots.hpp"

using namespace cistern;
using namespace cistern::detail;
using namespace cistern::test;
using namespace std::chrono_literals;

namespace {

constexpr auto int_slots = lifecycle_calls<int, number_lifecycle>::slot_type;

pool_slot& create(object_accounts& accounts) {
  accounts.begin_creation();
  pool_slot& slot = accounts.make_slot();
  accounts.finish_creation(true);
  return slot;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_books_balance_at_every_step) {
  object_accounts accounts(std::pmr::new_delete_resource(), int_slots);
  BOOST_TEST(accounts.balanced());
  accounts.begin_creation();
  BOOST_TEST(accounts.balanced());
  BOOST_TEST(accounts.total() == 1U);
  BOOST_TEST(accounts.creating() == 1U);
  pool_slot& slot = accounts.make_slot();
  BOOST_TEST(accounts.balanced());
  accounts.finish_creation(true);
  BOOST_TEST(accounts.balanced());
  accounts.begin_creation();
  accounts.cancel_creation();
  accounts.begin_creation();
  pool_slot& adopted = accounts.make_slot();
  accounts.finish_creation(false);
  BOOST_TEST(accounts.balanced());
  accounts.remove(slot, destroy_reason::expired);
  accounts.remove(adopted, destroy_reason::detached);
  BOOST_TEST(accounts.balanced());
  BOOST_TEST(accounts.total() == 0U);
  object_pool_statistics s;
  accounts.report(s);
  BOOST_TEST(s.created == 1U);
  BOOST_TEST(s.adopted == 1U);
  BOOST_TEST(s.destroyed_for(destroy_reason::expired) == 1U);
  BOOST_TEST(s.destroyed_total() == 2U);
}

BOOST_AUTO_TEST_CASE(an_object_removed_without_leave_is_noticed) {
  object_accounts accounts(std::pmr::new_delete_resource(), int_slots);
  pool_slot& slot = create(accounts);
  accounts.remove_empty(slot);
  BOOST_TEST(!accounts.balanced());
}

BOOST_AUTO_TEST_CASE(a_slot_goes_with_its_object) {
  testing::checking_resource checking;
  object_accounts accounts(&checking, int_slots);
  pool_slot& one = create(accounts);
  const auto bytes = checking.outstanding_bytes();
  pool_slot& two = create(accounts);
  BOOST_TEST(&one != &two);
  accounts.remove(one, destroy_reason::closed);
  accounts.remove(two, destroy_reason::closed);
  BOOST_TEST(accounts.slots().count() == 0U);
  BOOST_TEST(checking.outstanding_bytes() < bytes);
}

BOOST_AUTO_TEST_CASE(uses_of_objects_that_are_gone_still_count) {
  object_accounts accounts(std::pmr::new_delete_resource(), int_slots);
  pool_slot& gone = create(accounts);
  pool_slot& leased = create(accounts);
  gone.uses = 5;
  accounts.remove(gone, destroy_reason::discarded);
  leased.uses = 3;
  leased.acquired_at = 1;
  object_pool_statistics s;
  accounts.report(s);
  BOOST_TEST(s.acquired == 8U);
  BOOST_TEST(s.returned == 6U);  // one was discarded, one is out
}

BOOST_AUTO_TEST_CASE(holders_come_longest_first_and_no_more_than_wanted) {
  object_accounts accounts(std::pmr::new_delete_resource(), int_slots);
  for (const duration since : {duration{30s}, duration{10s}, duration{20s}, duration::zero()}) {
    create(accounts).acquired_at = since.count();
  }
  const auto holders = accounts.holders(time_point{40s}, 2);
  BOOST_REQUIRE(holders.size() == 2U);
  BOOST_TEST((holders[0].age == 30s));
  BOOST_TEST((holders[1].age == 20s));
  BOOST_TEST(accounts.holders(time_point{40s}, no_limit).size() == 3U);
}

BOOST_AUTO_TEST_CASE(a_slot_that_cannot_be_had_changes_nothing) {
  testing::failing_resource failing;
  object_accounts accounts(&failing, int_slots);
  accounts.begin_creation();
  failing.fail_nth(1);
  BOOST_CHECK_THROW((void)accounts.make_slot(), std::bad_alloc);
  BOOST_TEST(accounts.balanced());
  accounts.cancel_creation();
  BOOST_TEST(accounts.balanced());
}
