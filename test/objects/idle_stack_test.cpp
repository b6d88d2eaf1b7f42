// The lock-free stack of idle objects: order, the switch, and what many threads do to it.
#include <cistern/detail/objects/idle_stack.hpp>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/idle_slots.hpp"

using namespace cistern::detail;
using namespace cistern::test;

namespace {

constexpr auto always = [](std::uint32_t) { return true; };

}  // namespace

BOOST_AUTO_TEST_CASE(the_last_one_pushed_is_popped_first) {
  idle_slots slots(3);
  idle_stack stack(slots.table());
  BOOST_TEST(stack.try_pop() == nullptr);
  for (std::uint32_t index : {1U, 2U, 3U}) {
    BOOST_TEST(stack.try_push(slots[index], always));
    BOOST_TEST(stack.read_top([](std::uint32_t top) { return top; }) == index);
  }
  for (std::uint32_t index : {3U, 2U, 1U}) {
    BOOST_TEST(stack.try_pop() == &slots[index]);
  }
  BOOST_TEST(stack.try_pop() == nullptr);
}

BOOST_AUTO_TEST_CASE(a_shut_stack_refuses_and_hands_over_what_it_had) {
  idle_slots slots(3);
  idle_stack stack(slots.table());
  BOOST_TEST(stack.try_push(slots[1], always));
  BOOST_TEST(stack.try_push(slots[2], always));
  BOOST_TEST(!stack.shut());
  const std::uint32_t top = stack.close();
  BOOST_TEST(top == 2U);
  BOOST_TEST(slots[2].place->next_index == 1U);
  BOOST_TEST(slots[1].place->next_index == 0U);
  BOOST_TEST(stack.shut());
  BOOST_TEST(stack.try_pop() == nullptr);
  BOOST_TEST(!stack.try_push(slots[3], always));
  stack.open(top);
  BOOST_TEST(stack.try_push(slots[3], always));
  BOOST_TEST(stack.try_pop() == &slots[3]);
  BOOST_TEST(stack.try_pop() == &slots[2]);
}

BOOST_AUTO_TEST_CASE(a_push_asks_first_and_names_the_top) {
  idle_slots slots(2);
  idle_stack stack(slots.table());
  std::vector<std::uint32_t> tops;
  const auto refuse = [&](std::uint32_t top) { return tops.push_back(top), false; };
  BOOST_TEST(!stack.try_push(slots[1], refuse));
  BOOST_TEST(stack.try_push(slots[1], always));
  BOOST_TEST(!stack.try_push(slots[2], refuse));
  BOOST_TEST((tops == std::vector<std::uint32_t>{0, 1}));
  BOOST_TEST(stack.try_pop() == &slots[1]);
}

BOOST_AUTO_TEST_CASE(the_only_slot_is_popped_only_if_nothing_is_older) {
  idle_slots slots(3);
  idle_stack newer(slots.table());
  idle_stack older(slots.table());
  BOOST_TEST(newer.try_pop_only(older) == nullptr);  // none
  BOOST_TEST(newer.try_push(slots[1], always));
  BOOST_TEST(older.try_push(slots[3], always));
  BOOST_TEST(newer.try_pop_only(older) == nullptr);  // one is older
  BOOST_TEST(older.try_pop() == &slots[3]);
  BOOST_TEST(newer.try_push(slots[2], always));
  BOOST_TEST(newer.try_pop_only(older) == nullptr);  // two
  BOOST_TEST(newer.try_pop() == &slots[2]);
  const std::uint32_t none = older.close();
  BOOST_TEST(newer.try_pop_only(older) == nullptr);  // can't tell
  older.open(none);
  BOOST_TEST(newer.try_pop_only(older) == &slots[1]);
}

// Each slot is in one place at a time, however pushes, pops and the switch interleave.
BOOST_AUTO_TEST_CASE(no_slot_is_lost_or_held_twice) {
  constexpr std::uint32_t count = 8;
  idle_slots slots(count);
  idle_stack stack(slots.table());
  for (std::uint32_t index = 1; index <= count; ++index) {
    BOOST_TEST(stack.try_push(slots[index], always));
  }
  std::atomic<int> wrong{0};
  std::mutex mutex;  // as the pool's
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 4000; ++i) {
          if (t == 0 && i % 8 == 0) {
            const std::scoped_lock lock(mutex);
            const std::uint32_t top = stack.close();
            stack.open(top);
          }
          pool_slot* const slot = stack.try_pop();
          if (slot == nullptr) {
            continue;
          }
          wrong += !slots.hold(*slot);
          slot->retained_bytes += 1;  // for ThreadSanitizer: what a pop got is its own
          wrong += !slots.release(*slot);
          while (!stack.try_push(*slot, always)) {
            const std::scoped_lock lock(mutex);  // whoever shut it opens it again
          }
        }
      });
    }
  }
  BOOST_TEST(wrong == 0);
  std::set<pool_slot*> left;
  while (pool_slot* const slot = stack.try_pop()) {
    left.insert(slot);
  }
  BOOST_TEST(left.size() == count);
}
