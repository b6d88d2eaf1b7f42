// The table of slots: places found by index and never moved, slots that come and go.
#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/objects/lifecycle_calls.hpp>
#include <cistern/detail/objects/slot_table.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <cstdint>
#include <new>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

using namespace cistern;
using namespace cistern::detail;

namespace {

struct no_lifecycle {
  long create() { return 0; }
};
constexpr auto long_slots = lifecycle_calls<long, no_lifecycle>::slot_type;

std::vector<pool_slot*> make(slot_table& slots, int count) {
  std::vector<pool_slot*> made;
  for (int i = 0; i < count; ++i) {
    made.push_back(&slots.make());
  }
  return made;
}

}  // namespace

BOOST_AUTO_TEST_CASE(slots_are_found_by_their_index_and_stay_where_they_are) {
  testing::checking_resource checking;
  slot_table slots(&checking, long_slots);
  BOOST_TEST(slots.count() == 0U);
  const auto made = make(slots, 1000);
  BOOST_TEST(slots.count() == 1000U);
  std::set<const void*> seen;
  for (std::uint32_t index = 1; index <= 1000; ++index) {
    const pool_slot* const slot = made[index - 1];
    BOOST_REQUIRE(slot->index == index);
    BOOST_REQUIRE(slot->place == &slots[index]);
    BOOST_REQUIRE(slots[index].slot.load() == slot);
    BOOST_REQUIRE(reinterpret_cast<std::uintptr_t>(slot) % 64 == 0U);
    seen.insert(slot);
    seen.insert(slot->place);
  }
  BOOST_TEST(seen.size() == 2000U);
}

BOOST_AUTO_TEST_CASE(a_slot_that_goes_leaves_its_place_to_the_next) {
  testing::checking_resource checking;
  slot_table slots(&checking, long_slots);
  const auto made = make(slots, 7);
  const auto bytes = checking.outstanding_bytes();
  const slot_place* const place = made[3]->place;
  slots.remove(*made[3]);
  BOOST_TEST(slots.count() == 6U);
  BOOST_TEST(place->slot.load() == nullptr);
  // Where a memory checker looks on, a slot has a copy of its object.
  const std::size_t copy_bytes = memory_checker_present() ? long_slots.object_bytes : 0;
  BOOST_TEST(checking.outstanding_bytes() == bytes - long_slots.size_bytes - copy_bytes);
  std::set<std::uint32_t> seen;
  slots.for_each([&](const pool_slot& slot) { seen.insert(slot.index); });
  BOOST_TEST((seen == std::set<std::uint32_t>{1, 2, 3, 5, 6, 7}));
  const pool_slot& next = slots.make();
  BOOST_TEST(next.index == 4U);
  BOOST_TEST(next.place == place);
  BOOST_TEST(checking.outstanding_bytes() == bytes);
}

BOOST_AUTO_TEST_CASE(a_slot_that_cannot_be_had_changes_nothing) {
  testing::failing_resource failing;
  slot_table slots(&failing, long_slots);
  for (std::uint32_t count = 0; count < 8; ++count) {
    for (std::uint64_t nth = 1;; ++nth) {  // the place's block, the slot
      failing.fail_nth(nth);
      try {
        (void)slots.make();
        failing.disarm();
        BOOST_TEST(nth > 1U);
        break;
      } catch (const std::bad_alloc&) {
        BOOST_TEST(slots.count() == count);
        slots.for_each([&](const pool_slot& slot) { BOOST_TEST(slot.index <= count); });
      }
    }
  }
  BOOST_TEST(slots.count() == 8U);
  BOOST_TEST(slots[8].slot.load()->index == 8U);
}
