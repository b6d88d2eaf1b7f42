// One thread's cache by itself, over a depot. Plan: what was freed last comes first; a thread that frees and
// allocates at the edge of a magazine leaves the depot alone; a cache begins small, and grows where it
// misses; its room is bounded, by itself and by all caches together, and goes to the classes in use, of
// larger blocks to those that are there; all of it is given back; the last free of a class is seen; flushing
// gives every block back; a thread's end leaves room for others, and what it had grown to is soon reached
// again; trims asked for elsewhere are honoured once; counters; no memory.
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/thread_cache.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/pool_parts.hpp"

using cistern::pool_options;
using cistern::pool_statistics;
using cistern::detail::cached_class_count;
using cistern::detail::class_block_bytes;
using cistern::detail::class_of;
using cistern::detail::depot;
using cistern::detail::magazine;
using cistern::detail::small_class_count;
using cistern::detail::thread_cache;
using cistern::test_support::bucket_of;
using cistern::test_support::pool_ground;

namespace {

constexpr unsigned class_64 = class_of(63);
constexpr unsigned class_1k = class_of(1023);
constexpr unsigned class_4k = class_of(4095);

struct fixture : pool_ground {
  explicit fixture(const pool_options& asked = {}) : pool_ground(asked) { cache->adopt(); }
  ~fixture() {
    cache->flush();
    shared.release({});
  }
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;

  // As the engine does it.
  void* allocate(unsigned index) {
    void* const block = cache->slots().try_pop(index);
    return block != nullptr ? block : cache->try_refill(index);
  }
  void deallocate(unsigned index, void* block) {
    const bool taken = index < small_class_count
                           ? cache->slot(index).try_push(block, class_block_bytes(index))
                           : cache->slots().try_push_large(index, block);
    if (!taken) cache->take_back(index, block);
  }
  std::vector<void*> allocate(unsigned index, std::size_t count) {
    std::vector<void*> blocks(count);
    for (void*& block : blocks) block = allocate(index);
    return blocks;
  }
  void deallocate(unsigned index, const std::vector<void*>& blocks) {
    for (void* block : blocks) deallocate(index, block);
  }

  [[nodiscard]] pool_statistics statistics() const {
    pool_statistics s;
    std::array<depot::cached, cached_class_count> in_caches{};
    for (unsigned i = 0; i < cached_class_count; ++i) {
      in_caches[i].blocks = cache->slot(i).free_blocks();
      in_caches[i].hits = static_cast<std::uint64_t>(std::int64_t{cache->slot(i).popped});
    }
    shared.add_to(s, in_caches);
    account.add_to(s);
    return s;
  }
  [[nodiscard]] std::size_t cached_bytes() const {
    std::size_t bytes = 0;
    for (unsigned i = 0; i < cached_class_count; ++i)
      bytes += cache->slot(i).free_blocks() * class_block_bytes(i);
    return bytes;
  }

  depot shared{options, account};
  std::unique_ptr<thread_cache> cache = std::make_unique<thread_cache>(shared);
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_was_freed_last_comes_first) {
  fixture f;
  void* const a = f.allocate(class_64);
  void* const b = f.allocate(class_64);
  f.deallocate(class_64, a);
  f.deallocate(class_64, b);
  BOOST_TEST(f.allocate(class_64) == b);
  BOOST_TEST(f.allocate(class_64) == a);
  f.deallocate(class_64, a);
  f.deallocate(class_64, b);
}

BOOST_AUTO_TEST_CASE(at_the_edge_of_a_magazine_the_depot_is_left_alone) {
  fixture f;
  // Many out, then free them: somewhere on the way every edge is met.
  std::vector<void*> live = f.allocate(class_64, 1000);
  for (std::size_t freed = 0; !live.empty(); ++freed) {
    f.deallocate(class_64, live.back());
    live.pop_back();
    const std::uint64_t visits = f.shared.visits();
    for (int pair = 0; pair < 4; ++pair) f.deallocate(class_64, f.allocate(class_64));
    BOOST_REQUIRE(f.shared.visits() == visits);
  }
}

BOOST_AUTO_TEST_CASE(a_cache_begins_small_and_grows_where_it_misses) {
  fixture f;
  f.deallocate(class_64, f.allocate(class_64));
  const std::uint32_t first = f.cache->slot(class_64).capacity;
  BOOST_TEST(first > 0U);
  BOOST_TEST(first <= 32U);
  BOOST_TEST(f.cached_bytes() <= 4096U);
  f.deallocate(class_4k, f.allocate(class_4k));
  BOOST_TEST(f.cache->slot(class_4k).capacity == 1U);
  for (int round = 0; round < 10; ++round) f.deallocate(class_64, f.allocate(class_64, 4000));
  const std::uint32_t grown = f.cache->slot(class_64).capacity;
  BOOST_TEST(grown >= 16 * first);
  BOOST_TEST(f.cache->slot(class_4k).capacity == 1U);  // nobody missed any
  for (int round = 0; round < 10; ++round) f.deallocate(class_64, f.allocate(class_64, 100));
  BOOST_TEST(f.cache->slot(class_64).capacity == grown);
}

BOOST_AUTO_TEST_CASE(a_cache_keeps_within_its_bound) {
  for (const std::size_t bound : {std::size_t{64} << 10, std::size_t{2} << 20}) {
    fixture f({.thread_cache_bytes = bound});
    for (unsigned index = class_64; index < cached_class_count; ++index) {
      const std::vector<void*> blocks = f.allocate(index, 300);
      void* const stays = f.allocate(index);
      f.deallocate(index, blocks);
      BOOST_REQUIRE(f.cached_bytes() <= bound);
      f.deallocate(index, stays);
    }
  }
}

BOOST_AUTO_TEST_CASE(caches_share_what_all_may_have_together) {
  constexpr std::size_t total_bytes = std::size_t{1} << 20;
  fixture f({.thread_caches_total_bytes = total_bytes});
  const auto use = [&](thread_cache& cache) {
    std::vector<void*> blocks(2000);
    for (void*& block : blocks) {
      auto& slot = cache.slot(class_1k);
      block = slot.head != nullptr ? slot.pop() : cache.try_refill(class_1k);
    }
    blocks.pop_back();  // one stays, as the last free would give the whole class up
    for (void* block : blocks) {
      if (!cache.slot(class_1k).try_push(block, 1024)) cache.take_back(class_1k, block);
    }
    return cache.slot(class_1k).free_blocks() * 1024;
  };
  std::vector<std::unique_ptr<thread_cache>> others(40);
  std::size_t sum = 0;
  for (auto& other : others) {
    other = std::make_unique<thread_cache>(f.shared);
    other->adopt();
    for (int round = 0; round < 3; ++round) (void)use(*other);
    sum += use(*other);
  }
  BOOST_TEST(sum <= total_bytes);
  BOOST_TEST(sum >= total_bytes / 4);
  // Without any room a thread works all the same, and as others end there is some.
  BOOST_TEST(use(*f.cache) <= total_bytes - sum);
  for (auto& other : others) {
    other->retire();
    other->leave();
  }
  for (int round = 0; round < 3; ++round) (void)use(*f.cache);
  BOOST_TEST(use(*f.cache) >= 64U << 10);
}

BOOST_AUTO_TEST_CASE(what_a_cache_had_grown_to_is_soon_reached_again) {
  fixture f;
  void* const stays = f.allocate(class_64);
  for (int round = 0; round < 10; ++round) f.deallocate(class_64, f.allocate(class_64, 4000));
  const std::uint32_t grown = f.cache->slot(class_64).capacity;
  f.cache->retire();
  BOOST_TEST(f.cache->slot(class_64).capacity == 0U);
  BOOST_TEST(f.cached_bytes() == 0U);
  f.cache->adopt();
  f.deallocate(class_64, f.allocate(class_64, 100));
  BOOST_TEST(f.cache->slot(class_64).capacity >= grown / 2);
  f.deallocate(class_64, stays);
}

BOOST_AUTO_TEST_CASE(the_last_free_of_a_large_class_is_seen) {
  fixture f;
  for (int round = 0; round < 5; ++round) {
    std::vector<void*> live = f.allocate(class_1k, 3000);
    std::shuffle(live.begin(), live.end(), std::mt19937(1));
    f.deallocate(class_1k, live);
    BOOST_TEST(bucket_of(f.statistics(), 1024).depth == 0U);  // nothing is on a list
    auto* const first = static_cast<std::byte*>(f.allocate(class_1k));
    auto* const second = static_cast<std::byte*>(f.allocate(class_1k));
    BOOST_TEST(second - first == 1024);
    f.deallocate(class_1k, first);
    f.deallocate(class_1k, second);
    f.shared.check_invariants();
  }
}

BOOST_AUTO_TEST_CASE(room_goes_to_the_classes_in_use) {
  fixture f({.thread_cache_bytes = std::size_t{64} << 10});
  for (unsigned index = class_64; index <= class_4k; ++index) f.deallocate(index, f.allocate(index, 1000));
  // Whatever had the room before, a class that goes on being used gets some.
  for (int round = 0; round < 1000; ++round) f.deallocate(class_64, f.allocate(class_64, 4));
  BOOST_TEST(f.cache->slot(class_64).capacity > 0U);
  const auto popped = std::int64_t{f.cache->slot(class_64).popped};
  f.deallocate(class_64, f.allocate(class_64, 4));
  BOOST_TEST(std::int64_t{f.cache->slot(class_64).popped} >= popped + 4);
}

// Eight classes that could fill more room than there is, but never do so at the same time.
BOOST_AUTO_TEST_CASE(classes_of_larger_blocks_take_room_as_blocks_come) {
  constexpr std::size_t bound = std::size_t{1} << 20;
  constexpr std::size_t bytes_of_class = std::size_t{150} << 10;
  fixture f({.thread_cache_bytes = bound});
  std::array<std::vector<void*>, 8> live;
  std::vector<void*> stay;
  for (unsigned i = 0; i < live.size(); ++i) stay.push_back(f.allocate(class_4k + i));
  const auto cycles = [&](int times) {
    for (int cycle = 0; cycle < times; ++cycle) {
      for (unsigned i = 0; i < live.size(); ++i) {  // four are always out
        live[i] = f.allocate(class_4k + i, bytes_of_class / class_block_bytes(class_4k + i));
        const unsigned earlier = (i + 4) % 8;
        f.deallocate(class_4k + earlier, std::exchange(live[earlier], {}));
      }
      BOOST_REQUIRE(f.cached_bytes() <= bound);
    }
  };
  cycles(50);
  const std::uint64_t visits = f.shared.visits();
  cycles(50);
  BOOST_TEST(f.shared.visits() == visits);
  for (unsigned i = 0; i < live.size(); ++i) {
    f.deallocate(class_4k + i, live[i]);
    f.deallocate(class_4k + i, stay[i]);
  }
}

// Whatever it was used for, and however often it was emptied on the way.
BOOST_AUTO_TEST_CASE(the_room_of_a_cache_adds_up) {
  for (const std::size_t bound : {std::size_t{32} << 10, std::size_t{256} << 10, std::size_t{8} << 20}) {
    for (unsigned seed = 1; seed <= 10; ++seed) {
      fixture f({.thread_cache_bytes = bound, .thread_caches_total_bytes = bound});
      std::mt19937 random(seed);
      std::vector<std::pair<unsigned, void*>> live;
      for (int step = 0; step < 4000; ++step) {
        const bool grows = random() % 400 >= live.size();
        if (grows) {
          const auto index = static_cast<unsigned>(random() % cached_class_count);
          live.emplace_back(index, f.allocate(index));
        } else {
          std::swap(live[random() % live.size()], live.back());
          f.deallocate(live.back().first, live.back().second);
          live.pop_back();
        }
        if (random() % 1000 == 0) f.cache->flush();
        if (random() % 1000 == 0) {
          f.shared.request_trim(0);
          f.cache->honour_trim();
        }
        if (random() % 2000 == 0) f.cache->retire();
        BOOST_REQUIRE(f.cached_bytes() <= bound);
      }
      for (const auto& [index, block] : live) f.deallocate(index, block);
      f.cache->retire();
      BOOST_TEST(f.cached_bytes() == 0U);
      BOOST_TEST(f.cache->slots().free_room_bytes == 0);
      BOOST_TEST(f.shared.reserve_cache_bytes(0, bound));  // all of it
      f.shared.give_cache_bytes(bound);
      f.shared.trim(0);
      BOOST_TEST(f.account.bytes() == 0U);  // and no block was lost
    }
  }
}

BOOST_AUTO_TEST_CASE(a_flush_hands_every_block_to_the_depot) {
  fixture f;
  f.deallocate(class_64, f.allocate(class_64, 500));
  f.deallocate(class_4k, f.allocate(class_4k, 50));
  BOOST_TEST(f.cached_bytes() > 0U);
  f.cache->flush();
  BOOST_TEST(f.cached_bytes() == 0U);
  BOOST_TEST(bucket_of(f.statistics(), 64).live_blocks == 0U);
  f.shared.trim(0);
  BOOST_TEST(f.account.bytes() == 0U);
  f.shared.check_invariants();
}

BOOST_AUTO_TEST_CASE(a_trim_asked_for_elsewhere_is_honoured_once) {
  fixture f;
  f.deallocate(class_64, f.allocate(class_64, 500));
  f.shared.request_trim(0);
  f.cache->honour_trim();
  BOOST_TEST(f.cached_bytes() == 0U);
  BOOST_TEST(f.account.bytes() == 0U);
  f.deallocate(class_64, f.allocate(class_64, 50));
  const std::size_t cached = f.cached_bytes();
  f.cache->honour_trim();
  BOOST_TEST(f.cached_bytes() == cached);
}

BOOST_AUTO_TEST_CASE(a_cache_that_is_adopted_owes_nothing_to_earlier_trims) {
  fixture f;
  f.shared.request_trim(0);
  f.cache->adopt();
  f.deallocate(class_64, f.allocate(class_64, 50));
  const std::size_t cached = f.cached_bytes();
  f.cache->honour_trim();
  BOOST_TEST(f.cached_bytes() == cached);
}

BOOST_AUTO_TEST_CASE(counters_add_up) {
  fixture f;
  for (int round = 0; round < 10; ++round) f.deallocate(class_64, f.allocate(class_64, 100));
  const auto row = bucket_of(f.statistics(), 64);
  BOOST_TEST(row.hits + row.misses == 1000U);
  BOOST_TEST(row.returned == 1000U);
  BOOST_TEST(row.live_blocks == 0U);
}

BOOST_AUTO_TEST_CASE(every_free_is_seen_where_blocks_are_cleared) {
  fixture f({.zero_on_free = true});
  void* const block = f.allocate(class_64);
  BOOST_TEST(!f.cache->slot(class_64).try_push(block, 64));
  f.cache->take_back(class_64, block);
  void* const again = f.allocate(class_64);
  BOOST_TEST(!f.cache->slot(class_64).try_push(again, 64));
  f.cache->take_back(class_64, again);
}

BOOST_AUTO_TEST_CASE(null_where_there_is_no_memory_and_what_was_there_stays) {
  fixture f({.max_bytes = std::size_t{32} << 10});
  std::vector<void*> live;
  while (void* block = f.allocate(class_4k)) live.push_back(block);
  BOOST_TEST(!live.empty());
  BOOST_TEST(f.allocate(class_4k) == nullptr);
  BOOST_TEST(bucket_of(f.statistics(), 4096).live_blocks == live.size());
  f.deallocate(class_4k, live.back());
  BOOST_TEST(f.allocate(class_4k) == live.back());
  f.deallocate(class_4k, live);
}
