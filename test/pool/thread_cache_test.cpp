// One thread's cache by itself, over a depot. Plan: what was freed last comes first; a thread that frees and
// allocates at the edge of a magazine leaves the depot alone; the room of a cache is bounded, and goes to the
// classes in use; flushing gives every block back; trims asked for elsewhere are honoured once; counters; no
// memory.
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/thread_cache.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <cstdint>
#include <memory>
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
using cistern::detail::thread_cache;
using cistern::test_support::bucket_of;
using cistern::test_support::pool_ground;

namespace {

constexpr unsigned class_64 = class_of(63);
constexpr unsigned class_4k = class_of(4095);

struct fixture : pool_ground {
  explicit fixture(const pool_options& asked = {}) : pool_ground(asked) { cache->adopt(); }
  ~fixture() {
    cache->flush();
    shared.release();
  }
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;

  // As the engine does it.
  void* allocate(unsigned index) {
    auto& slot = cache->slot(index);
    return slot.head != nullptr ? slot.pop() : cache->try_refill(index);
  }
  void deallocate(unsigned index, void* block) {
    if (!cache->slot(index).try_push(block, class_block_bytes(index))) cache->take_back(index, block);
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
  const std::size_t full = f.shared.magazine_blocks(class_64);
  // Three magazines out, then free them: somewhere on the way every edge is met.
  std::vector<void*> live = f.allocate(class_64, 3 * full);
  for (std::size_t freed = 0; !live.empty(); ++freed) {
    f.deallocate(class_64, live.back());
    live.pop_back();
    const std::uint64_t misses = bucket_of(f.statistics(), 64).misses;
    const std::size_t in_depot_before =
        bucket_of(f.statistics(), 64).depth - f.cache->slot(class_64).free_blocks();
    for (int pair = 0; pair < 4; ++pair) f.deallocate(class_64, f.allocate(class_64));
    const std::size_t in_depot = bucket_of(f.statistics(), 64).depth - f.cache->slot(class_64).free_blocks();
    BOOST_REQUIRE(bucket_of(f.statistics(), 64).misses == misses);
    BOOST_REQUIRE(in_depot == in_depot_before);
  }
}

BOOST_AUTO_TEST_CASE(a_cache_keeps_within_its_bound) {
  fixture f({.thread_cache_bytes = std::size_t{64} << 10});
  for (unsigned index = class_64; index <= class_4k; ++index) {
    f.deallocate(index, f.allocate(index, 1000));
    BOOST_REQUIRE(f.cached_bytes() <= std::size_t{64} << 10);
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
