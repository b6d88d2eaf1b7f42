// The depot by itself. Plan: magazines come back as they went; what is loose is cut to size; a magazine that
// is too large is cut too; what is new comes in order; blocks without a cache; blocks that are runs, also
// moved to another class where they are; the limit, with a cache to flush; the last free of a class; the
// bound on lists; trims; sorting; visits; statistics with blocks in caches; locks at a fork; release; many
// threads.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory_resource>
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
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;

namespace {

constexpr unsigned class_64 = class_of(63);
constexpr unsigned class_1k = class_of(1023);
constexpr unsigned class_256k = class_of((std::size_t{256} << 10) - 1);
constexpr unsigned class_512k = class_of((std::size_t{512} << 10) - 1);
constexpr unsigned class_1m = class_of((std::size_t{1} << 20) - 1);
static_assert(class_256k < cached_class_count && class_512k >= cached_class_count);

struct fixture : pool_ground {
  explicit fixture(const pool_options& asked = {}) : pool_ground(asked) {}
  ~fixture() { shared.release({}); }
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;

  magazine take(unsigned index, std::size_t most_blocks, flushable* own = nullptr) {
    fresh = false;
    return shared.try_take(index, most_blocks, fresh, others_blocks, own);
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
  bool fresh = false;
  std::size_t others_blocks = 0;
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

/// Counts the locks that other threads hold.
class held_locks final : public cistern::detail::lock_visitor {
 public:
  int count = 0;

 private:
  bool visit(void* lock, const lock_calls& calls) noexcept override {
    if (calls.try_lock(lock)) {
      calls.unlock(lock);
    } else {
      ++count;
    }
    return true;
  }
};

/// Calls a function before each allocation.
class announcing_resource final : public std::pmr::memory_resource {
 public:
  std::function<void()> announce = [] {};

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    announce();
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    std::pmr::new_delete_resource()->deallocate(memory, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_magazine_comes_back_as_it_went) {
  fixture f;
  const magazine small = single_blocks(f.shared, class_64, 2);
  const magazine large = single_blocks(f.shared, class_64, 40);
  f.shared.put(class_64, small);
  f.shared.put(class_64, large);
  for (const magazine& expected : {large, small}) {  // the last one first
    const magazine taken = f.take(class_64, 40);
    BOOST_TEST(taken.head == expected.head);
    BOOST_TEST(taken.blocks == expected.blocks);
    BOOST_TEST(length(taken.head) == expected.blocks);
    BOOST_TEST(!f.fresh);
  }
  f.shared.put(class_64, small);
  f.shared.put(class_64, large);
}

BOOST_AUTO_TEST_CASE(a_magazine_larger_than_wanted_is_cut) {
  fixture f;
  const magazine forty = single_blocks(f.shared, class_64, 40);
  const magazine thirty = single_blocks(f.shared, class_64, 30);
  f.shared.put(class_64, forty);
  f.shared.put(class_64, thirty);
  std::vector<magazine> taken;
  for (std::size_t left = 70; left != 0; left -= taken.back().blocks) {
    taken.push_back(f.take(class_64, 7));
    BOOST_REQUIRE(!f.fresh);
    BOOST_REQUIRE(taken.back().blocks >= 1U);
    BOOST_REQUIRE(taken.back().blocks <= 7U);
    BOOST_REQUIRE(length(taken.back().head) == taken.back().blocks);
    f.shared.check_invariants();
  }
  BOOST_TEST(taken.size() <= 11U);  // nine full ones, and the ends of two
  for (const magazine& each : taken) f.shared.put(class_64, each);
  f.shared.check_invariants();
}

BOOST_AUTO_TEST_CASE(blocks_that_came_singly_are_taken_together) {
  fixture f;
  const magazine out = single_blocks(f.shared, class_64, 10);
  for (free_block* block = out.head; block != nullptr;) {
    free_block* const next = block->next();
    f.shared.put(class_64, {free_block::make(block->handed_out(), 64, nullptr), 1});
    block = next;
  }
  const magazine first = f.take(class_64, 6);
  const magazine rest = f.take(class_64, 6);
  BOOST_TEST(first.blocks == 6U);
  BOOST_TEST(rest.blocks == 4U);
  BOOST_TEST(length(rest.head) == 4U);
  f.shared.put(class_64, first);
  f.shared.put(class_64, rest);
}

BOOST_AUTO_TEST_CASE(new_blocks_come_in_order_of_address) {
  fixture f;
  const std::size_t block_bytes = 24;
  const unsigned index = class_of(block_bytes - 1);
  const magazine taken = f.take(index, 30);
  BOOST_TEST(f.fresh);
  BOOST_TEST(taken.blocks == 30U);
  BOOST_TEST(length(taken.head) == taken.blocks);
  for (const auto* block = taken.head; block->next() != nullptr; block = block->next()) {
    BOOST_REQUIRE(reinterpret_cast<std::uintptr_t>(block->next()) ==
                  reinterpret_cast<std::uintptr_t>(block) + block_bytes);
  }
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

// ---- blocks that are runs ----

BOOST_AUTO_TEST_CASE(a_run_serves_the_next_one_of_any_such_class) {
  fixture f;
  bool is_new = false;
  void* const block = f.shared.try_allocate_run(class_1m, is_new, nullptr);
  BOOST_TEST(is_new);
  f.shared.deallocate(class_1m, block);
  const std::uint64_t upstream_calls = f.upstream.allocations();
  void* const smaller = f.shared.try_allocate_run(class_512k, is_new, nullptr);
  BOOST_TEST(smaller == block);
  BOOST_TEST(!is_new);
  BOOST_TEST(f.upstream.allocations() == upstream_calls);
  const auto row = bucket_of(f.statistics(), class_block_bytes(class_512k));
  BOOST_TEST(row.hits == 1U);
  BOOST_TEST(row.live_blocks == 1U);
  BOOST_TEST(row.depth == 0U);
  BOOST_TEST(bucket_of(f.statistics(), class_block_bytes(class_1m)).misses == 1U);
  f.shared.deallocate(class_512k, smaller);
  f.shared.check_invariants();
}

BOOST_AUTO_TEST_CASE(a_run_becomes_one_of_another_class_where_it_is) {
  page_source source;
  {
    const pool_options options = effective({});
    upstream_account account(source);
    depot shared(options, account);
    bool is_new = false;
    auto* block = static_cast<std::byte*>(shared.try_allocate_run(class_1m, is_new, nullptr));
    cistern::detail::asan_unpoison(block, 1 << 20);
    std::memset(block, 0x5a, 1 << 20);
    BOOST_TEST(shared.try_resize_run(class_1m, block, class_512k));
    BOOST_TEST((block[0] == std::byte{0x5a} && block[(512 << 10) - 1] == std::byte{0x5a}));
    BOOST_TEST(shared.find(block)->bytes == 512U << 10);
    BOOST_TEST(shared.try_resize_run(class_512k, block, class_1m));  // what was behind it is free
    BOOST_TEST(shared.try_resize_run(class_1m, block, class_512k));
    void* const behind = shared.try_allocate_run(class_512k, is_new, nullptr);
    BOOST_TEST(behind == block + (512 << 10));
    BOOST_TEST(!shared.try_resize_run(class_512k, block, class_1m));
    BOOST_TEST(shared.find(block)->bytes == 512U << 10);
    shared.check_invariants();
    shared.deallocate(class_512k, behind);
    shared.deallocate(class_512k, block);
    shared.check_invariants();
    shared.release({});
    BOOST_TEST(account.bytes() == 0U);
  }
  BOOST_TEST(source.outstanding_bytes == 0U);
}

BOOST_AUTO_TEST_CASE(idle_runs_are_kept_within_the_budget) {
  fixture f({.max_idle_bytes = std::size_t{1} << 20});
  std::vector<void*> live(8);
  for (void*& block : live) block = f.shared.try_allocate(class_512k, nullptr);
  for (void* block : live) f.shared.deallocate(class_512k, block);
  BOOST_TEST(f.statistics().idle_bytes <= std::size_t{1} << 20);
  BOOST_TEST(bucket_of(f.statistics(), class_block_bytes(class_512k)).live_blocks == 0U);
}

// ---- the limit ----

BOOST_AUTO_TEST_CASE(at_the_limit_the_callers_cache_is_flushed_before_null_is_said) {
  for (const unsigned wanted : {class_1k, class_512k}) {
    fixture f({.max_bytes = std::size_t{1} << 20});
    std::vector<void*> live;
    while (void* block = f.shared.try_allocate(class_64, nullptr)) live.push_back(block);
    BOOST_REQUIRE(live.size() > 5000U);
    magazine cached;  // all that there is lies in a cache
    for (void* block : live) cached = {free_block::make(block, 64, cached.head), cached.blocks + 1};
    cache_to_flush own(f.shared, class_64, cached);
    BOOST_TEST(f.shared.try_allocate(wanted, nullptr) == nullptr);
    void* const block = f.shared.try_allocate(wanted, &own);
    BOOST_TEST(own.flushes > 0);
    BOOST_REQUIRE(block != nullptr);
    f.shared.deallocate(wanted, block);
  }
}

BOOST_AUTO_TEST_CASE(null_at_the_limit_leaves_everything_as_it_was) {
  fixture f({.max_bytes = std::size_t{32} << 10});
  std::vector<void*> live;
  while (void* block = f.shared.try_allocate(class_1k, nullptr)) live.push_back(block);
  const pool_statistics before = f.statistics();
  BOOST_TEST(f.take(class_1k, 1).head == nullptr);
  BOOST_TEST(f.shared.try_allocate(class_1k, nullptr) == nullptr);
  const pool_statistics after = f.statistics();
  BOOST_TEST((before.in_use_bytes == after.in_use_bytes && before.upstream_bytes == after.upstream_bytes));
  for (void* block : live) f.shared.deallocate(class_1k, block);
}

BOOST_AUTO_TEST_CASE(room_of_all_caches_is_counted_together) {
  fixture f({.thread_cache_bytes = 800, .thread_caches_total_bytes = 1000});
  f.shared.add_cache();
  BOOST_TEST(f.shared.cache_share_bytes() == 800U);
  BOOST_TEST(f.shared.reserve_cache_bytes(0, 600));
  BOOST_TEST(!f.shared.reserve_cache_bytes(600, 401));
  BOOST_TEST(f.shared.reserve_cache_bytes(600, 400));
  f.shared.give_cache_bytes(400);
  f.shared.add_cache();
  BOOST_TEST(f.shared.cache_share_bytes() == 500U);
  BOOST_TEST(!f.shared.reserve_cache_bytes(600, 151));  // a quarter is for those that have little
  BOOST_TEST(f.shared.reserve_cache_bytes(600, 150));
  BOOST_TEST(!f.shared.reserve_cache_bytes(0, 251));
  BOOST_TEST(f.shared.reserve_cache_bytes(0, 250));
  BOOST_TEST(!f.shared.reserve_cache_bytes(0, 1));
  f.shared.remove_cache();
  BOOST_TEST(f.shared.cache_share_bytes() == 800U);
}

// ---- classes that leave, lists that are bounded ----

BOOST_AUTO_TEST_CASE(a_class_leaves_whole_with_its_last_block) {
  constexpr std::size_t count = 1000;  // of 1 KiB: worth it
  fixture f;
  magazine out = single_blocks(f.shared, class_1k, count);
  const magazine last{out.head, 1};
  out = {out.head->next(), count - 1};
  last.head->next(nullptr);
  BOOST_TEST(f.shared.put(class_1k, out) == 1U);
  BOOST_TEST(bucket_of(f.statistics(), 1024).depth >= count - 1);
  BOOST_TEST(f.shared.put(class_1k, last) == 0U);
  BOOST_TEST(bucket_of(f.statistics(), 1024).depth == 0U);
  f.shared.check_invariants();
  const magazine again = f.take(class_1k, 20);
  BOOST_TEST(f.fresh);  // in order of address, from a span
  f.shared.put(class_1k, again);
}

BOOST_AUTO_TEST_CASE(how_much_is_elsewhere_is_told_where_it_matters) {
  fixture f;
  const magazine few = single_blocks(f.shared, class_1k, 10);
  BOOST_TEST(f.shared.put(class_1k, few) == depot::unknown_blocks);
  const magazine many = single_blocks(f.shared, class_1k, 1000);
  const magazine taken = f.take(class_1k, 20);
  // What was taken is neither here nor yet anywhere else.
  BOOST_TEST(f.others_blocks == 1000U + taken.blocks);
  f.shared.put(class_1k, taken);
  f.shared.put(class_1k, many);
}

BOOST_AUTO_TEST_CASE(lists_keep_no_more_than_they_may) {
  fixture f({.max_idle_blocks_per_bucket = 10});
  const magazine stays = single_blocks(f.shared, class_64, 1);
  for (const std::size_t blocks : {3U, 7U, 1U, 200U}) {
    f.shared.put(class_64, single_blocks(f.shared, class_64, blocks));
    f.shared.check_invariants();
    std::size_t listed = 0;
    std::vector<magazine> taken;
    for (;;) {
      taken.push_back(f.take(class_64, 1000));
      if (f.fresh) break;
      listed += taken.back().blocks;
    }
    BOOST_TEST(listed <= 10U);
    for (const magazine& each : taken) f.shared.put(class_64, each);
  }
  f.shared.put(class_64, stays);
}

BOOST_AUTO_TEST_CASE(sorting_keeps_what_it_is_told_and_does_no_more_than_it_may) {
  fixture f;
  const magazine stays = single_blocks(f.shared, class_64, 1);
  f.shared.put(class_64, single_blocks(f.shared, class_64, 500));
  BOOST_TEST(f.shared.sort(class_64, 450, 1000).blocks == 50U);
  BOOST_TEST(f.shared.sort(class_64, 0, 70).blocks == 70U);
  f.shared.check_invariants();
  BOOST_TEST(bucket_of(f.statistics(), 64).live_blocks == 1U);
  BOOST_TEST(f.shared.sort(class_64, 0, 1000).blocks == 380U);
  BOOST_TEST(f.shared.sort(class_64, 0, 1000).blocks == 0U);
  f.shared.check_invariants();
  f.shared.put(class_64, stays);
}

// ---- trims ----

BOOST_AUTO_TEST_CASE(a_trim_gives_back_what_is_not_live) {
  fixture f;
  void* const live = f.shared.try_allocate(class_1k, nullptr);
  f.shared.put(class_64, single_blocks(f.shared, class_64, 3000));
  f.shared.deallocate(class_1m, f.shared.try_allocate(class_1m, nullptr));
  const std::size_t held = f.account.bytes();
  const std::size_t given_back = f.shared.trim(0);
  BOOST_TEST(given_back > 0U);
  BOOST_TEST(f.account.bytes() == held - given_back);
  BOOST_TEST(bucket_of(f.statistics(), 64).depth == 0U);
  f.shared.deallocate(class_1k, live);
  f.shared.trim(0);
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(a_trim_keeps_what_it_is_told) {
  for (const std::size_t live : {0U, 1U}) {  // without a live block nothing lies in a list
    fixture f;
    const magazine stays = single_blocks(f.shared, class_64, live);
    f.shared.put(class_64, single_blocks(f.shared, class_64, 100'000));
    f.shared.trim(std::size_t{2} << 20);
    BOOST_TEST_INFO(live << " live");
    BOOST_TEST(f.statistics().idle_bytes <= std::size_t{2} << 20);
    BOOST_TEST(f.statistics().idle_bytes >= std::size_t{1} << 20);
    if (live != 0) f.shared.put(class_64, stays);
  }
}

BOOST_AUTO_TEST_CASE(a_request_to_trim_is_counted_and_followed_by_whoever_comes_by) {
  fixture f;
  const std::uint32_t before = f.shared.trims_requested();
  f.shared.put(class_64, single_blocks(f.shared, class_64, 1000));
  f.shared.request_trim(0);
  BOOST_TEST(f.shared.trims_requested() == before + 1);
  BOOST_TEST(f.account.bytes() != 0U);
  f.shared.follow_trim();
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(a_step_of_a_trim_is_bounded) {
  fixture f;
  const magazine stays = single_blocks(f.shared, class_64, 1);
  f.shared.put(class_64, single_blocks(f.shared, class_64, 20'000));
  f.shared.request_trim(0);
  f.shared.follow_trim();
  const magazine left = f.take(class_64, 20'000);
  BOOST_TEST(!f.fresh);
  BOOST_TEST(left.blocks >= 20'000U - 4'096U - 8U * 1'024U);
  f.shared.put(class_64, left);
  for (int step = 0; step < 10; ++step) f.shared.follow_trim();
  f.shared.put(class_64, stays);
  f.shared.follow_trim();
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(making_room_says_whether_asking_again_is_worth_it) {
  fixture f;
  const std::uint32_t before = f.shared.trims_requested();
  BOOST_TEST(!f.shared.make_room(nullptr));
  BOOST_TEST(f.shared.trims_requested() == before + 1);  // other threads are asked for what they have
  f.shared.deallocate(class_1m, f.shared.try_allocate(class_1m, nullptr));
  BOOST_TEST(f.shared.make_room(nullptr));
  BOOST_TEST(f.account.bytes() == 0U);
}

// ---- figures ----

BOOST_AUTO_TEST_CASE(visits_are_counted) {
  fixture f;
  const magazine taken = f.take(class_64, 10);  // looks in vain, gets a span, and looks again
  const std::uint64_t before = f.shared.visits();
  f.shared.put(class_64, taken);
  f.shared.put(class_64, f.take(class_64, 10));
  BOOST_TEST(f.shared.visits() == before + 3);
}

BOOST_AUTO_TEST_CASE(statistics_take_what_caches_hold_for_free) {
  fixture f;
  const magazine out = single_blocks(f.shared, class_64, 10);
  BOOST_TEST(bucket_of(f.statistics(0), 64).live_blocks == 10U);
  BOOST_TEST(bucket_of(f.statistics(10), 64).live_blocks == 0U);
  BOOST_TEST(bucket_of(f.statistics(4), 64).live_blocks == 6U);
  f.shared.put(class_64, out);
}

BOOST_AUTO_TEST_CASE(hits_of_caches_that_are_gone_are_kept) {
  fixture f;
  f.shared.put(class_64, f.take(class_64, 1));  // one miss
  std::array<depot::cached, cached_class_count> gone{};
  gone[class_64].hits = 41;
  f.shared.add_hits(gone);
  BOOST_TEST(bucket_of(f.statistics(), 64).hits == 41U);
  BOOST_TEST(bucket_of(f.statistics(), 64).returned == 42U);
}

BOOST_AUTO_TEST_CASE(find_tells_blocks_of_the_depot_from_others) {
  fixture f;
  for (const unsigned index : {class_64, class_1k, class_256k, class_1m}) {
    void* const block = f.shared.try_allocate(index, nullptr);
    BOOST_REQUIRE(f.shared.find(block).has_value());
    BOOST_TEST(f.shared.find(block)->bytes == class_block_bytes(index));
    f.shared.deallocate(index, block);
  }
  int elsewhere = 0;
  BOOST_TEST(!f.shared.find(&elsewhere).has_value());
}

// A lock that a fork doesn't take may be held for ever in the child, by a thread that isn't there.
BOOST_AUTO_TEST_CASE(a_fork_waits_for_who_asks_upstream) {
  announcing_resource upstream;
  const pool_options options = effective({});
  upstream_account account(&upstream, options.max_bytes);
  depot shared(options, account);
  held_locks seen;
  upstream.announce = [&] { run_thread([&] { (void)shared.each_lock(seen); }); };
  bool fresh = false;
  std::size_t others_blocks = 0;
  (void)shared.try_take(class_64, 1, fresh, others_blocks, nullptr);
  BOOST_TEST(seen.count == 1);
  shared.release({});
}

BOOST_AUTO_TEST_CASE(release_takes_what_is_live_and_the_accounts_know) {
  fixture f;
  const magazine cached = f.take(class_64, 5);
  for (int i = 0; i < 20; ++i) (void)f.shared.try_allocate(class_64, nullptr);
  (void)f.shared.try_allocate(class_1m, nullptr);
  std::array<depot::cached, cached_class_count> in_caches{};
  in_caches[class_64] = {cached.blocks, 7};
  f.shared.release(in_caches);
  BOOST_TEST(f.account.bytes() == 0U);
  const auto row = bucket_of(f.statistics(), 64);
  BOOST_TEST(row.live_blocks == 0U);
  BOOST_TEST(row.hits + row.misses - row.returned == 20U);  // nobody freed them
  f.shared.check_invariants();
  f.shared.put(class_64, f.take(class_64, 5));
}

BOOST_AUTO_TEST_CASE(threads_trade_magazines_without_losing_a_block) {
  fixture f;
  run_threads(4, [&](std::size_t) {
    for (int round = 0; round < 200; ++round) {
      bool fresh = false;
      std::size_t others_blocks = 0;
      const magazine taken = f.shared.try_take(class_64, 16, fresh, others_blocks, nullptr);
      std::size_t blocks = 0;
      for (auto* block = taken.head; block != nullptr; block = block->next()) ++blocks;
      cistern::test_support::require(blocks == taken.blocks, "a magazine has as many blocks as it says");
      f.shared.put(class_64, taken);
      for (const unsigned index : {class_1k, class_512k}) {
        void* one = f.shared.try_allocate(index, nullptr);
        cistern::detail::asan_unpoison(one, 1024);
        std::memset(one, round, 1024);
        f.shared.deallocate(index, one);
      }
      if (round % 50 == 0) f.shared.trim(0);
    }
  });
  f.shared.check_invariants();
  for (const unsigned index : {class_64, class_1k, class_512k}) {
    BOOST_TEST(bucket_of(f.statistics(), class_block_bytes(index)).live_blocks == 0U);
  }
}
