// The idle objects of a shared pool: both orders, the bound, open and shut, one thread and many.
#include <cistern/detail/objects/idle_objects.hpp>

#include <atomic>
#include <deque>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/idle_slots.hpp"

using namespace cistern;
using namespace cistern::detail;
using namespace cistern::test;

namespace {

constexpr auto valid = [] { return true; };

std::vector<std::uint32_t> indices(const pool_slot* first) {
  std::vector<std::uint32_t> result;
  for (; first != nullptr; first = first->link) {
    result.push_back(first->index);
  }
  return result;
}

}  // namespace

// Against a deque, with every operation in every state.
BOOST_AUTO_TEST_CASE(it_is_a_stack_or_a_queue) {
  constexpr std::uint32_t count = 12;
  for (const auto order : {reuse_order::lifo, reuse_order::fifo}) {
    for (const std::size_t bound : {std::size_t{5}, no_limit}) {
      idle_slots slots(count);
      idle_objects idle(slots.table(), order, bound);
      idle.open();
      std::deque<pool_slot*> model;  // the next one to be given out first
      std::vector<pool_slot*> free;
      for (std::uint32_t index = 1; index <= count; ++index) {
        free.push_back(&slots[index]);
      }
      const auto model_keep = [&](pool_slot* slot) {
        order == reuse_order::lifo ? model.push_front(slot) : model.push_back(slot);
      };
      std::minstd_rand random(7);
      for (int step = 0; step < 20000; ++step) {
        const auto what = random() % 8;
        if (what < 3 && !free.empty()) {
          const bool kept = idle.try_keep(*free.back(), valid);
          BOOST_REQUIRE(kept == (!idle.is_shut() && model.size() < bound));
          if (kept) {
            model_keep(free.back());
            free.pop_back();
          }
        } else if (what < 5) {
          pool_slot* const slot = idle.try_take();
          if (slot == nullptr) {
            // Nothing there, or shut, or FIFO and turning over takes the mutex.
            BOOST_REQUIRE((model.empty() || idle.is_shut() || order == reuse_order::fifo));
            continue;
          }
          BOOST_REQUIRE(slot == model.front());
          model.pop_front();
          free.push_back(slot);
        } else if (what == 5) {
          idle.shut();
          BOOST_REQUIRE(idle.count() == model.size());
          BOOST_REQUIRE(idle.empty() == model.empty());
          std::size_t seen = 0;
          idle.for_each([&](const pool_slot&) { ++seen; });
          BOOST_REQUIRE(seen == model.size());
        } else if (what == 6 && idle.is_shut()) {
          pool_slot* const slot = idle.pop();
          BOOST_REQUIRE(slot == (model.empty() ? nullptr : model.front()));
          if (slot != nullptr) {
            model.pop_front();
            free.push_back(slot);
          }
        } else if (what == 7 && idle.is_shut()) {
          if (!free.empty() && random() % 2 == 0) {
            idle.push(*free.back());
            model_keep(free.back());
            free.pop_back();
          } else if (random() % 4 == 0) {
            const std::size_t keep = random() % 4;
            for (pool_slot* slot = idle.take_all_but(keep); slot != nullptr; slot = slot->link) {
              free.push_back(slot);
            }
            model.resize(std::min(keep, model.size()));
          } else {
            idle.open();
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_taken_out_goes_back_in_the_same_order) {
  for (const auto order : {reuse_order::lifo, reuse_order::fifo}) {
    idle_slots slots(6);
    idle_objects idle(slots.table(), order, no_limit);
    for (std::uint32_t index = 1; index <= 6; ++index) {
      idle.push(slots[index]);
    }
    pool_slot* const all = idle.take_all();
    BOOST_TEST(idle.empty());
    const auto before = indices(all);
    idle.put_back_all(all);
    BOOST_TEST(idle.count() == 6U);
    idle.open();
    idle.shut();
    BOOST_TEST(indices(idle.take_all()) == before, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_single_object_is_passed_on_without_the_mutex) {
  idle_slots slots(1);
  idle_objects idle(slots.table(), reuse_order::fifo, no_limit);
  idle.open();
  for (int i = 0; i < 10; ++i) {
    BOOST_TEST(idle.try_keep(slots[1], valid));
    BOOST_TEST(idle.try_take() == &slots[1]);
  }
}

BOOST_AUTO_TEST_CASE(an_object_that_is_no_longer_valid_is_not_kept) {
  idle_slots slots(1);
  idle_objects idle(slots.table(), reuse_order::lifo, no_limit);
  idle.open();
  BOOST_TEST(!idle.try_keep(slots[1], [] { return false; }));
  BOOST_TEST(idle.try_take() == nullptr);
}

// Nothing is lost or given out twice, there are never more than the bound, and a FIFO hands out what each
// thread kept in the order in which it kept it.
BOOST_AUTO_TEST_CASE(many_threads_at_once) {
  for (const auto order : {reuse_order::lifo, reuse_order::fifo}) {
    for (const std::size_t bound : {std::size_t{4}, no_limit}) {
      constexpr std::uint32_t count = 8;
      idle_slots slots(count);
      idle_objects idle(slots.table(), order, bound);
      std::mutex mutex;
      std::vector<pool_slot*> spare;  // what there was no room for; guarded by the mutex
      for (std::uint32_t index = 1; index <= count; ++index) {
        spare.push_back(&slots[index]);
      }
      idle.open();
      std::atomic<int> wrong{0};
      const auto take = [&]() -> pool_slot* {
        if (pool_slot* const slot = idle.try_take()) {
          return slot;
        }
        const std::scoped_lock lock(mutex);
        idle.shut();
        wrong += idle.count() > bound;
        pool_slot* slot = idle.pop();
        if (slot == nullptr && !spare.empty()) {
          slot = spare.back();
          spare.pop_back();
        }
        idle.open();
        return slot;
      };
      const auto keep = [&](pool_slot* slot) {
        if (idle.try_keep(*slot, valid)) {
          return;
        }
        const std::scoped_lock lock(mutex);
        idle.shut();
        wrong += idle.count() > bound;
        if (idle.count() < bound) {
          idle.push(*slot);
        } else {
          spare.push_back(slot);
        }
        idle.open();
      };
      {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 6; ++t) {
          threads.emplace_back([&] {
            for (int i = 0; i < 3000; ++i) {
              pool_slot* const one = take();
              pool_slot* const other = i % 3 == 0 ? take() : nullptr;
              for (pool_slot* const slot : {one, other}) {
                if (slot != nullptr) {
                  wrong += !slots.hold(*slot);
                  slot->retained_bytes += 1;
                  wrong += !slots.release(*slot);
                  keep(slot);
                }
              }
            }
          });
        }
      }
      BOOST_TEST(wrong == 0);
      idle.shut();
      std::set<pool_slot*> all(spare.begin(), spare.end());
      BOOST_TEST(idle.count() <= bound);
      while (pool_slot* const slot = idle.pop()) {
        all.insert(slot);
      }
      BOOST_TEST(all.size() == count);
    }
  }
}

// With the mutex held for every return, the order of returns is known: each object carries its turn, and
// whoever takes without a lock must see them in order on each thread.
BOOST_AUTO_TEST_CASE(a_fifo_is_in_order_across_threads) {
  constexpr std::uint32_t count = 16;
  idle_slots slots(count);
  idle_objects idle(slots.table(), reuse_order::fifo, no_limit);
  idle.open();
  std::mutex returning;
  std::mutex mutex;
  std::size_t turn = 0;
  for (std::uint32_t index = 1; index <= count; ++index) {
    slots[index].retained_bytes = ++turn;
    BOOST_REQUIRE(idle.try_keep(slots[index], valid));
  }
  std::atomic<int> out_of_order{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        std::size_t last = 0;
        for (int i = 0; i < 4000; ++i) {
          pool_slot* slot = idle.try_take();
          if (slot == nullptr) {
            const std::scoped_lock lock(mutex);
            idle.shut();
            slot = idle.pop();
            idle.open();
          }
          if (slot == nullptr) {
            continue;
          }
          out_of_order += slot->retained_bytes <= last;
          last = slot->retained_bytes;
          const std::scoped_lock lock(returning);
          slot->retained_bytes = ++turn;
          while (!idle.try_keep(*slot, valid)) {
            const std::scoped_lock wait(mutex);
          }
        }
      });
    }
  }
  BOOST_TEST(out_of_order == 0);
}
