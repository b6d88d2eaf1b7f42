// The table of slots: found by index, never moved, given back to the resource.
#include <cistern/detail/objects/lifecycle_calls.hpp>
#include <cistern/detail/objects/slot_table.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <cstdint>
#include <new>
#include <set>

#include <boost/test/unit_test.hpp>

using namespace cistern;
using namespace cistern::detail;

namespace {

struct no_lifecycle {
  long create() { return 0; }
};
constexpr auto long_slots = lifecycle_calls<long, no_lifecycle>::slot_type;

}  // namespace

BOOST_AUTO_TEST_CASE(slots_are_found_by_their_index_and_stay_where_they_are) {
  testing::checking_resource checking;
  slot_table slots(&checking, long_slots);
  BOOST_TEST(slots.slots() == 0U);
  slots.add_block();
  const pool_slot* const first = &slots[1];
  for (int blocks = 1; blocks < 10; ++blocks) {
    slots.add_block();
  }
  BOOST_TEST(slots.slots() == 1023U);
  BOOST_TEST(&slots[1] == first);
  std::set<const pool_slot*> seen;
  for (std::uint32_t index = 1; index <= slots.slots(); ++index) {
    BOOST_REQUIRE(slots[index].index == index);
    BOOST_REQUIRE(reinterpret_cast<std::uintptr_t>(&slots[index]) % 64 == 0U);
    seen.insert(&slots[index]);
  }
  BOOST_TEST(seen.size() == 1023U);
}

BOOST_AUTO_TEST_CASE(a_block_that_cannot_be_had_changes_nothing) {
  testing::failing_resource failing;
  slot_table slots(&failing, long_slots);
  slots.add_block();
  failing.fail_nth(1);
  BOOST_CHECK_THROW(slots.add_block(), std::bad_alloc);
  BOOST_TEST(slots.slots() == 1U);
  slots.add_block();
  BOOST_TEST(slots.slots() == 3U);
}

BOOST_AUTO_TEST_CASE(a_size_that_overflows_is_refused) {
  auto huge = long_slots;
  huge.size_bytes = SIZE_MAX / 2 + 1;
  testing::checking_resource checking(nullptr, [](const testing::memory_error&) {});
  slot_table slots(&checking, huge);
  BOOST_CHECK_THROW(slots.add_block(), std::bad_alloc);
  BOOST_TEST(checking.outstanding_blocks() == 0U);
}
