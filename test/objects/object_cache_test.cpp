// A thread's cache of idle objects: its owner without a lock, the others by claiming it.
#include <cistern/detail/objects/object_cache.hpp>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/idle_slots.hpp"

using namespace cistern::detail;
using namespace cistern::test;

BOOST_AUTO_TEST_CASE(the_last_one_kept_is_taken_first) {
  idle_slots slots(object_cache::most_slots);
  object_cache cache;
  BOOST_TEST(cache.pop() == nullptr);
  for (std::uint32_t index = 1; index <= object_cache::most_slots; ++index) {
    cache.push(slots[index]);
    BOOST_TEST(cache.count() == index);
  }
  std::uint32_t seen = 0;
  cache.for_each([&](const pool_slot& slot) { seen += slot.index; });
  BOOST_TEST(seen == object_cache::most_slots * (object_cache::most_slots + 1) / 2);
  for (std::uint32_t index = object_cache::most_slots; index > 0; --index) {
    BOOST_TEST(cache.pop() == &slots[index]);
  }
  BOOST_TEST(cache.pop() == nullptr);
}

BOOST_AUTO_TEST_CASE(owner_and_claimant_exclude_each_other) {
  for (const bool asymmetric : {false, asymmetric_fences()}) {
    object_cache cache;
    BOOST_TEST(cache.enter(asymmetric));
    BOOST_TEST(!cache.try_claim(asymmetric));  // the owner is inside
    cache.leave();
    BOOST_TEST(cache.enter(asymmetric));  // a claim that failed is none
    cache.leave();
    BOOST_TEST(cache.try_claim(asymmetric));
    BOOST_TEST(!cache.enter(asymmetric));  // claimed
    cache.unclaim();
    BOOST_TEST(cache.enter(asymmetric));
    cache.leave();
    cache.claim(asymmetric);
    BOOST_TEST(!cache.enter(asymmetric));
    cache.unclaim();
  }
}

BOOST_AUTO_TEST_CASE(fences_work_where_they_are_promised) {
  BOOST_TEST((!asymmetric_fences() || fence_all_threads()));
}

// The owner comes and goes while others claim the cache, one at a time, and take half of what it has.
BOOST_AUTO_TEST_CASE(nothing_is_lost_between_owner_and_claimants) {
  for (const bool asymmetric : {false, asymmetric_fences()}) {
    constexpr std::uint32_t count = 16;
    idle_slots slots(count);
    object_cache cache;
    std::mutex mutex;  // as the pool's
    std::vector<pool_slot*> depot;
    for (std::uint32_t index = 1; index <= count; ++index) {
      depot.push_back(&slots[index]);
    }
    std::atomic<int> wrong{0};
    std::atomic<bool> done{false};
    {
      std::vector<std::jthread> thieves;
      for (int t = 0; t < 3; ++t) {
        thieves.emplace_back([&] {
          while (!done) {
            const std::scoped_lock lock(mutex);
            if (!cache.try_claim(asymmetric)) {
              continue;
            }
            for (std::uint32_t wanted = (cache.count() + 1) / 2; wanted > 0; --wanted) {
              pool_slot* const slot = cache.pop();
              wrong += !slots.hold(*slot);
              wrong += !slots.release(*slot);
              depot.push_back(slot);
            }
            cache.unclaim();
          }
        });
      }
      for (int i = 0; i < 20000; ++i) {
        pool_slot* slot = nullptr;
        if (cache.enter(asymmetric)) {
          slot = cache.pop();
          cache.leave();
        }
        if (slot == nullptr) {
          const std::scoped_lock lock(mutex);
          if (!depot.empty()) {
            slot = depot.back();
            depot.pop_back();
          }
        }
        if (slot == nullptr) {
          continue;
        }
        wrong += !slots.hold(*slot);
        slot->retained_bytes += 1;
        wrong += !slots.release(*slot);
        if (cache.enter(asymmetric)) {
          cache.push(*slot);
          cache.leave();
        } else {
          const std::scoped_lock lock(mutex);
          depot.push_back(slot);
        }
      }
      done = true;
    }
    BOOST_TEST(wrong == 0);
    std::set<pool_slot*> all(depot.begin(), depot.end());
    while (pool_slot* const slot = cache.pop()) {
      all.insert(slot);
    }
    BOOST_TEST(all.size() == count);
  }
}
