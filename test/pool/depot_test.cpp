// The depot by itself. Plan: magazines come back whole and in O(1); what is loose is cut to size; carving
// ends at cache lines; blocks without a cache; classes that come singly, also moved over a source of pages;
// the limit, with a cache to flush; trims; statistics with blocks in caches; many threads.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/pool_parts.hpp"
#include "../support/threads.hpp"

using cistern::pool_options;
using cistern::pool_statistics;
using cistern::detail::cached_class_count;
using cistern::detail::class_block_bytes;
using cistern::detail::class_of;
using cistern::detail::depot;
using cistern::detail::flushable;
using cistern::detail::free_block;
using cistern::detail::magazine;
using cistern::detail::upstream_account;
using cistern::test_support::bucket_of;
using cistern::test_support::effective;
using cistern::test_support::length;
using cistern::test_support::page_source;
using cistern::test_support::pool_ground;
using cistern::test_support::run_threads;

namespace {

constexpr unsigned class_64 = class_of(63);
constexpr unsigned class_1k = class_of(1023);
constexpr unsigned class_single = class_of((std::size_t{256} << 10) - 1);

struct fixture : pool_ground {
  explicit fixture(const pool_options& asked = {}) : pool_ground(asked) {}
  ~fixture() { shared.release(); }
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;

  magazine take(unsigned index, std::size_t carve_blocks = 1, flushable* own = nullptr) {
    carved = false;
    return shared.try_take(index, carve_blocks, false, carved, own);
  }

  [[nodiscard]] pool_statistics statistics(std::size_t cached_64 = 0) const {
    pool_statistics s;
    std::array<depot::cached, cached_class_count> in_caches{};
    in_caches[class_64].blocks = cached_64;
    shared.add_to(s, in_caches);
    account.add_to(s);
    return s;
  }

  depot shared{options, account};
  bool carved = false;
};

/// `count` blocks one by one, as a magazine.
magazine single_blocks(depot& from, unsigned index, std::size_t count) {
  magazine blocks;
  while (blocks.blocks < count) {
    blocks.head = free_block::make(from.try_allocate(index, nullptr), class_block_bytes(index), blocks.head);
    ++blocks.blocks;
  }
  return blocks;
}

/// A cache that has one magazine to give up.
class cache_to_flush final : public flushable {
 public:
  cache_to_flush(depot& owner, unsigned index, magazine blocks)
      : owner_(owner), index_(index), blocks_(blocks) {}
  void flush() noexcept override {
    ++flushes;
    if (blocks_.head != nullptr) owner_.put(index_, blocks_);
    blocks_ = {};
  }
  void flush_for_trim() noexcept override { flush(); }
  int flushes = 0;

 private:
  depot& owner_;
  unsigned index_;
  magazine blocks_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_full_magazine_comes_back_as_it_went) {
  fixture f;
  const std::size_t full = f.shared.magazine_blocks(class_64);
  BOOST_REQUIRE(full > 1U);
  const magazine blocks = single_blocks(f.shared, class_64, full);
  f.shared.put(class_64, blocks);
  const magazine taken = f.take(class_64);
  BOOST_TEST(taken.head == blocks.head);
  BOOST_TEST(taken.blocks == full);
  BOOST_TEST(length(taken.head) == full);
  BOOST_TEST(!f.carved);
  f.shared.put(class_64, taken);
}

BOOST_AUTO_TEST_CASE(of_loose_blocks_at_most_a_magazine_is_taken) {
  fixture f;
  const std::size_t full = f.shared.magazine_blocks(class_64);
  // Two parts that aren't full: what the depot has of them is loose.
  const magazine many = single_blocks(f.shared, class_64, full - 1);
  const magazine few = single_blocks(f.shared, class_64, full - 1);
  f.shared.put(class_64, many);
  f.shared.put(class_64, few);
  const magazine first = f.take(class_64);
  BOOST_TEST(first.blocks == full);
  BOOST_TEST(length(first.head) == full);
  const magazine rest = f.take(class_64);
  BOOST_TEST(rest.blocks == full - 2);
  BOOST_TEST(length(rest.head) == full - 2);
  f.shared.put(class_64, first);
  f.shared.put(class_64, rest);
  f.shared.check_invariants();
}

BOOST_AUTO_TEST_CASE(carved_blocks_are_in_order_and_end_at_a_cache_line) {
  fixture f;
  const std::size_t block_bytes = 24;
  const unsigned index = class_of(block_bytes - 1);
  const magazine taken = f.take(index, 4);
  BOOST_TEST(f.carved);
  BOOST_TEST(taken.blocks >= 4U);
  BOOST_TEST(length(taken.head) == taken.blocks);
  const auto* last = taken.head;
  while (last->next() != nullptr) {
    BOOST_REQUIRE(reinterpret_cast<std::uintptr_t>(last->next()) ==
                  reinterpret_cast<std::uintptr_t>(last) + block_bytes);
    last = last->next();
  }
  BOOST_TEST((reinterpret_cast<std::uintptr_t>(last) + block_bytes) % cistern::detail::cache_line_bytes ==
             0U);
  f.shared.put(index, taken);
}

BOOST_AUTO_TEST_CASE(a_block_without_a_cache_leaves_the_rest_for_others) {
  fixture f;
  std::set<void*> blocks;
  for (int i = 0; i < 1000; ++i) {
    void* block = f.shared.try_allocate(class_1k, nullptr);
    BOOST_REQUIRE(block != nullptr);
    cistern::detail::asan_unpoison(block, 1024);
    std::memset(block, i, 1024);
    BOOST_REQUIRE(blocks.insert(block).second);
  }
  BOOST_TEST(bucket_of(f.statistics(), 1024).live_blocks == 1000U);
  for (void* block : blocks) f.shared.deallocate(class_1k, block);
  BOOST_TEST(bucket_of(f.statistics(), 1024).live_blocks == 0U);
  f.shared.check_invariants();
}

BOOST_AUTO_TEST_CASE(a_magazine_of_blocks_that_come_singly_is_kept_within_the_budget) {
  fixture f({.max_idle_bytes = std::size_t{1} << 20});
  const magazine blocks = single_blocks(f.shared, class_single, 8);  // 2 MiB
  f.shared.put(class_single, blocks);
  BOOST_TEST(f.statistics().idle_bytes <= std::size_t{1} << 20);
  BOOST_TEST(bucket_of(f.statistics(), class_block_bytes(class_single)).live_blocks == 0U);
}

BOOST_AUTO_TEST_CASE(a_large_block_moves_to_another_class_with_its_content) {
  page_source source;
  {
    const pool_options options = effective({});
    upstream_account account(source);
    depot shared(options, account);
    auto* block = static_cast<std::byte*>(shared.try_allocate(class_single, nullptr));
    cistern::detail::asan_unpoison(block, 256 << 10);
    std::memset(block, 0x5a, 256 << 10);
    const unsigned larger = class_of((std::size_t{512} << 10) - 1);
    auto* moved = static_cast<std::byte*>(shared.try_move_single(class_single, block, larger));
    BOOST_REQUIRE(moved != nullptr);
    BOOST_TEST((moved[0] == std::byte{0x5a} && moved[(256 << 10) - 1] == std::byte{0x5a}));
    source.refuse = true;
    BOOST_TEST(shared.try_move_single(larger, moved, class_single) == nullptr);  // and nothing has changed
    BOOST_TEST((moved[0] == std::byte{0x5a}));
    source.refuse = false;
    shared.deallocate(larger, moved);
    shared.check_invariants();
    shared.release();
    BOOST_TEST(account.bytes() == 0U);
  }
  BOOST_TEST(source.outstanding_bytes == 0U);
}

BOOST_AUTO_TEST_CASE(at_the_limit_the_callers_cache_is_flushed_before_null_is_said) {
  fixture f({.max_bytes = std::size_t{64} << 10});
  std::vector<void*> live;
  while (void* block = f.shared.try_allocate(class_64, nullptr)) live.push_back(block);
  BOOST_REQUIRE(live.size() > 500U);
  magazine cached;  // all that there is lies in a cache
  for (void* block : live) cached = {free_block::make(block, 64, cached.head), cached.blocks + 1};
  cache_to_flush own(f.shared, class_64, cached);
  bool carved = false;
  const magazine taken = f.shared.try_take(class_1k, 1, false, carved, &own);
  BOOST_TEST(own.flushes > 0);
  BOOST_REQUIRE(taken.head != nullptr);
  f.shared.put(class_1k, taken);
}

BOOST_AUTO_TEST_CASE(null_at_the_limit_leaves_everything_as_it_was) {
  fixture f({.max_bytes = std::size_t{32} << 10});
  std::vector<void*> live;
  while (void* block = f.shared.try_allocate(class_1k, nullptr)) live.push_back(block);
  const pool_statistics before = f.statistics();
  BOOST_TEST(f.take(class_1k).head == nullptr);
  BOOST_TEST(f.shared.try_allocate(class_1k, nullptr) == nullptr);
  const pool_statistics after = f.statistics();
  BOOST_TEST((before.in_use_bytes == after.in_use_bytes && before.upstream_bytes == after.upstream_bytes));
  for (void* block : live) f.shared.deallocate(class_1k, block);
}

BOOST_AUTO_TEST_CASE(a_trim_gives_back_what_is_not_live) {
  fixture f;
  void* const live = f.shared.try_allocate(class_1k, nullptr);
  f.shared.put(class_64, single_blocks(f.shared, class_64, 10 * f.shared.magazine_blocks(class_64)));
  const std::size_t held = f.account.bytes();
  BOOST_TEST(f.shared.trim(0) > 0U);
  BOOST_TEST(f.account.bytes() < held);
  BOOST_TEST(bucket_of(f.statistics(), 64).depth == 0U);
  f.shared.deallocate(class_1k, live);
  f.shared.trim(0);
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(a_request_to_trim_is_counted_and_says_what_to_keep) {
  fixture f;
  const std::uint32_t before = f.shared.trims_requested();
  f.shared.request_trim(12345);
  BOOST_TEST(f.shared.trims_requested() == before + 1);
  BOOST_TEST(f.shared.trim_keep_bytes() == 12345U);
}

BOOST_AUTO_TEST_CASE(statistics_take_what_caches_hold_for_free) {
  fixture f;
  const magazine out = single_blocks(f.shared, class_64, 10);
  BOOST_TEST(bucket_of(f.statistics(0), 64).live_blocks == 10U);
  BOOST_TEST(bucket_of(f.statistics(10), 64).live_blocks == 0U);
  BOOST_TEST(bucket_of(f.statistics(4), 64).live_blocks == 6U);
  f.shared.put(class_64, out);
}

BOOST_AUTO_TEST_CASE(find_tells_blocks_of_the_depot_from_others) {
  fixture f;
  void* const block = f.shared.try_allocate(class_1k, nullptr);
  BOOST_REQUIRE(f.shared.find(block).has_value());
  BOOST_TEST(f.shared.find(block)->bytes == 1024U);
  int elsewhere = 0;
  BOOST_TEST(!f.shared.find(&elsewhere).has_value());
  f.shared.deallocate(class_1k, block);
}

BOOST_AUTO_TEST_CASE(threads_trade_magazines_without_losing_a_block) {
  fixture f;
  run_threads(4, [&](std::size_t) {
    for (int round = 0; round < 200; ++round) {
      bool carved = false;
      const magazine taken = f.shared.try_take(class_64, 16, false, carved, nullptr);
      std::size_t blocks = 0;
      for (auto* block = taken.head; block != nullptr; block = block->next()) ++blocks;
      cistern::test_support::require(blocks == taken.blocks, "a magazine has as many blocks as it says");
      f.shared.put(class_64, taken);
      void* one = f.shared.try_allocate(class_1k, nullptr);
      cistern::detail::asan_unpoison(one, 1024);
      std::memset(one, round, 1024);
      f.shared.deallocate(class_1k, one);
      if (round % 50 == 0) f.shared.trim(0);
    }
  });
  f.shared.check_invariants();
  BOOST_TEST(bucket_of(f.statistics(), 64).live_blocks == 0U);
  BOOST_TEST(bucket_of(f.statistics(), 1024).live_blocks == 0U);
}
