// The room of one pooled object: apart from its neighbours, without an object until somebody makes one, and
// the numbers by which threads are told apart.
#include <cistern/detail/objects/pool_slot.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/threads.hpp"

using namespace cistern::detail;        // NOLINT(google-build-using-namespace)
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

struct counted {
  static inline int made = 0;
  static inline int destroyed = 0;
  counted() { ++made; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { ++destroyed; }
};

struct alignas(256) wide {
  std::byte bytes[300];
};

}  // namespace

static_assert(alignof(typed_slot<char>) == 64);
static_assert(sizeof(typed_slot<char>) % 64 == 0, "neighbours don't share a cache line");
static_assert(alignof(typed_slot<wide>) == 256);
static_assert(sizeof(typed_slot<wide>) % 256 == 0);

BOOST_AUTO_TEST_CASE(a_slot_comes_and_goes_without_its_object) {
  { const typed_slot<counted> slot; }
  BOOST_TEST(counted::made == 0);
  BOOST_TEST(counted::destroyed == 0);
  typed_slot<counted> slot;
  std::construct_at(std::addressof(slot.object));
  std::destroy_at(std::addressof(slot.object));
  BOOST_TEST(counted::made == 1);
  BOOST_TEST(counted::destroyed == 1);
}

BOOST_AUTO_TEST_CASE(a_new_slot_is_nobody_s) {
  const typed_slot<int> slot;
  BOOST_TEST(!slot.leased());
  BOOST_TEST((slot.home == nullptr));
  BOOST_TEST((slot.link == nullptr));
  BOOST_TEST(slot.uses.load() == 0U);
  BOOST_TEST(slot.holder.load() == 0U);
  BOOST_TEST((slot.expires_at == cistern::time_point::max()));
}

BOOST_AUTO_TEST_CASE(it_is_leased_while_it_has_a_time) {
  typed_slot<int> slot;
  slot.acquired_at = 1;
  BOOST_TEST(slot.leased());
  slot.acquired_at = not_leased;
  BOOST_TEST(!slot.leased());
  slot.acquired_at = -3;  // idle since the third trim
  BOOST_TEST(!slot.leased());
}

BOOST_AUTO_TEST_CASE(the_object_lies_in_its_slot) {
  std::array<typed_slot<wide>, 2> slots;
  for (typed_slot<wide>& slot : slots) {
    const auto object = reinterpret_cast<std::uintptr_t>(std::addressof(slot.object));
    const auto begin = reinterpret_cast<std::uintptr_t>(&slot);
    BOOST_TEST(object % alignof(wide) == 0U);
    BOOST_TEST(object >= begin + sizeof(pool_slot));
    BOOST_TEST(object + sizeof(wide) <= begin + sizeof slot);
    pool_slot& untyped = slot;
    BOOST_TEST((&static_cast<typed_slot<wide>&>(untyped) == &slot));
  }
}

BOOST_AUTO_TEST_CASE(every_thread_has_a_number_of_its_own) {
  constexpr std::size_t threads = 8;
  std::array<std::uint64_t, threads> numbers{};
  const std::uint64_t own = this_thread_number();
  for (int round = 0; round < 2; ++round) {  // no number comes back when its thread has ended
    std::set<std::uint64_t> seen(numbers.begin(), numbers.end());
    run_threads(threads, [&](std::size_t index) {
      numbers[index] = this_thread_number();
      require(numbers[index] == this_thread_number(), "another number the second time");
    });
    seen.insert(numbers.begin(), numbers.end());
    seen.erase(0);
    BOOST_TEST(seen.size() == threads * static_cast<std::size_t>(round + 1));
    BOOST_TEST(!seen.contains(own));
  }
  BOOST_TEST(own != 0U);
  BOOST_TEST(this_thread_number() == own);
}
