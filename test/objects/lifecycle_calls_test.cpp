// The user's functions on objects in slots: each is called where it exists, once and in order, and what it
// throws becomes an answer.
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/objects/lifecycle_calls.hpp>
#include <cistern/detail/objects/pool_slot.hpp>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

using namespace cistern::detail;  // NOLINT(google-build-using-namespace)

namespace {

// What happened, a letter each.
std::string story;

struct thing {
  explicit thing(std::size_t bytes) : held_bytes(bytes) { story += 'c'; }
  thing(thing&&) = delete;
  thing& operator=(thing&&) = delete;
  ~thing() { story += 'd'; }
  std::size_t held_bytes;
  bool dirty = false;
};

struct full_lifecycle {
  bool throws = false;
  bool valid = true;
  bool forgets = false;

  thing create() {
    story += 'f';
    if (throws) throw std::runtime_error("create");
    return thing(100);
  }
  void reset(thing& object) const {
    story += 'r';
    if (throws) throw std::runtime_error("reset");
    if (!forgets) object.dirty = false;
  }
  bool validate(thing&) const {
    story += 'v';
    if (throws) throw std::runtime_error("validate");
    return valid;
  }
  void destroy(thing&& object) noexcept {
    story += 'x';
    object.held_bytes = 0;
  }
  std::size_t retained_bytes(const thing& object) noexcept { return object.held_bytes; }
  bool clean(const thing& object) noexcept { return !object.dirty; }
};

struct least_lifecycle {
  thing create() { return thing(1); }
};

using full_calls = lifecycle_calls<thing, full_lifecycle>;
using least_calls = lifecycle_calls<thing, least_lifecycle>;

struct fixture {
  fixture() { story.clear(); }
};

}  // namespace

static_assert(full_calls::slot_type.size_bytes == sizeof(typed_slot<thing>));
static_assert(full_calls::slot_type.align_bytes == alignof(typed_slot<thing>));

BOOST_FIXTURE_TEST_SUITE(suite, fixture)

BOOST_AUTO_TEST_CASE(an_object_is_made_in_its_slot_and_destroyed_there) {
  typed_slot<thing> slot;
  full_calls calls{};
  calls.construct(slot);
  BOOST_TEST(story == "fc");  // not moved: it can't be
  BOOST_TEST((&full_calls::object(slot) == std::addressof(slot.object)));
  BOOST_TEST(full_calls::object(slot).held_bytes == 100U);
  calls.destroy(slot);
  BOOST_TEST(story == "fcxd");
}

BOOST_AUTO_TEST_CASE(a_factory_that_throws_leaves_the_slot_empty) {
  typed_slot<thing> slot;
  full_calls calls{{.throws = true}};
  BOOST_CHECK_THROW(calls.construct(slot), std::runtime_error);
  BOOST_TEST(story == "f");
}

BOOST_AUTO_TEST_CASE(cleaning_up_resets_and_asks_what_is_retained) {
  typed_slot<thing> slot;
  full_calls calls{};
  calls.construct(slot);
  full_calls::object(slot).dirty = true;
  full_calls::object(slot).held_bytes = 70;
  BOOST_TEST(calls.clean_up(slot));
  BOOST_TEST(story == "fcr");
  BOOST_TEST(!full_calls::object(slot).dirty);
  BOOST_TEST(slot.retained_bytes == 70U);
  calls.lifecycle.throws = true;
  BOOST_TEST(!calls.clean_up(slot));
  BOOST_TEST(story == "fcrr");  // the object is still there, for the pool to destroy
  calls.destroy(slot);
}

BOOST_AUTO_TEST_CASE(an_object_is_valid_if_its_lifecycle_says_so) {
  typed_slot<thing> slot;
  full_calls calls{};
  calls.construct(slot);
  BOOST_TEST(calls.still_valid(slot));
  calls.lifecycle.valid = false;
  BOOST_TEST(!calls.still_valid(slot));
  calls.lifecycle.valid = true;
  calls.lifecycle.throws = true;
  BOOST_TEST(!calls.still_valid(slot));
  BOOST_TEST(story == "fcvvv");
  calls.destroy(slot);
}

BOOST_AUTO_TEST_CASE(what_a_lifecycle_lacks_is_not_missed) {
  typed_slot<thing> slot;
  least_calls calls{};
  calls.construct(slot);
  least_calls::object(slot).dirty = true;
  slot.retained_bytes = 5;
  BOOST_TEST(calls.clean_up(slot));
  BOOST_TEST(calls.still_valid(slot));
  BOOST_TEST(slot.retained_bytes == 5U);
  BOOST_TEST(least_calls::object(slot).dirty);
  calls.destroy(slot);
  BOOST_TEST(story == "cd");
}

BOOST_AUTO_TEST_CASE(checked_builds_find_an_object_that_is_not_clean) {
  typed_slot<thing> slot;
  full_calls calls{{.forgets = true}};
  calls.construct(slot);
  full_calls::object(slot).dirty = true;
  if constexpr (checked_build) {
    BOOST_TEST(cistern::test_support::dies_saying("object not clean after reset",
                                                  [&] { (void)calls.clean_up(slot); }));
    BOOST_TEST(
        cistern::test_support::dies_saying("written to", [&] { calls.expect_clean(slot, "written to"); }));
  } else {
    BOOST_TEST(calls.clean_up(slot));
  }
  full_calls::object(slot).dirty = false;
  calls.expect_clean(slot, "it is clean");
  calls.destroy(slot);
}

BOOST_AUTO_TEST_CASE(a_slot_is_made_in_raw_room) {
  alignas(full_calls::slot_type.align_bytes) std::byte room[full_calls::slot_type.size_bytes];
  pool_slot* const slot = full_calls::slot_type.construct(room);
  BOOST_TEST((static_cast<void*>(slot) == room));
  BOOST_TEST(!slot->leased());
  BOOST_TEST(story.empty());
  std::destroy_at(static_cast<typed_slot<thing>*>(slot));
}

BOOST_AUTO_TEST_SUITE_END()
