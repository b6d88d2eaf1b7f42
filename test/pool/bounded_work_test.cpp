// The work of one call is bounded, whatever lies idle and whatever lives: counted in pages of memory that it
// looks at, blocks and records alike, and in what it asks of upstream.
//
// Plan, a case each: large blocks come and go beside many that live; a few blocks come and go after a large
// peak; all calls beside a million free blocks, within the bound on idle memory and beyond; refusals.
#include <cistern/no_limit.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <new>
#include <random>
#include <tuple>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/touch_counting_resource.hpp"

using cistern::pool_options;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;
constexpr std::size_t gib = 1024 * mib;

using both_pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

/// Of several calls: the most of each, and the sums.
struct work_of_calls {
  std::size_t calls = 0;
  call_work most;
  call_work all;

  void add(const call_work& one) {
    ++calls;
    for (std::size_t call_work::*what :
         {&call_work::pages, &call_work::upstream_calls, &call_work::given_back_bytes}) {
      most.*what = std::max(most.*what, one.*what);
      all.*what += one.*what;
    }
  }
};

/// A pool each call of which can be counted.
template <class Pool>
class counted_pool {
 public:
  explicit counted_pool(const pool_options& options = {}) : pool(options, &upstream_) {}
  counted_pool(const counted_pool&) = delete;
  counted_pool& operator=(const counted_pool&) = delete;
  ~counted_pool() { upstream_.open(); }

  [[nodiscard]] void* allocate(std::size_t bytes, work_of_calls& work) {
    void* block = nullptr;
    work.add(upstream_.during([&] { block = pool.allocate(bytes); }));
    return block;
  }
  void deallocate(void* block, std::size_t bytes, work_of_calls& work) {
    work.add(upstream_.during([&] { pool.deallocate(block, bytes); }));
  }
  /// So many come and go again.
  work_of_calls come_and_go(std::size_t count, std::size_t bytes) {
    work_of_calls work;
    std::vector<void*> blocks(count);
    for (void*& block : blocks) block = allocate(bytes, work);
    for (void* block : blocks) deallocate(block, bytes, work);
    return work;
  }
  /// What a request does that is refused.
  call_work refused(std::size_t bytes) {
    bool is_refused = false;
    const call_work work = upstream_.during([&] {
      try {
        (void)pool.allocate(bytes);
      } catch (const std::bad_alloc&) {
        is_refused = true;
      }
    });
    BOOST_TEST(is_refused);
    return work;
  }
  /// What follows isn't counted.
  void open() { upstream_.open(); }

 private:
  touch_counting_resource upstream_{16 * gib};

 public:
  Pool pool;
};

}  // namespace

// A free finds its region in a tree, of which a call may go down several times: no more than its depth.
BOOST_AUTO_TEST_CASE_TEMPLATE(large_blocks_look_at_none_that_live, Pool, both_pools) {
  constexpr std::size_t most_pages_of_a_call = 32;
  std::size_t pages_beside_none = 0;
  for (const std::size_t live_blocks : {0U, 1'000U, 16'000U}) {
    counted_pool<Pool> p;
    (void)allocate_many(p.pool, live_blocks, 40 * kib);
    const auto up_and_down = [&] { return p.come_and_go(80, mib); };  // 16 more than may be idle
    up_and_down();
    const work_of_calls work = up_and_down();
    BOOST_TEST_INFO(live_blocks << " blocks live");
    BOOST_TEST(work.most.pages <= most_pages_of_a_call);
    BOOST_TEST(work.all.upstream_calls == 0U);
    if (live_blocks == 0) {
      pages_beside_none = work.all.pages;
    }
    BOOST_TEST(work.all.pages <= 2 * pages_beside_none);
    p.open();
    p.pool.release();
  }
}

// Nine blocks more than a least stay has. What they look at is themselves and the record of a cache.
BOOST_AUTO_TEST_CASE_TEMPLATE(few_blocks_look_at_nothing_that_a_peak_left, Pool, both_pools) {
  constexpr std::size_t blocks = 9;
  constexpr int cycles = 200;
  for (const std::size_t bytes : {32 * kib, 256 * kib}) {
    for (const std::size_t peak_bytes : {std::size_t{0}, gib / 16, gib}) {
      counted_pool<Pool> p({.max_idle_bytes = cistern::no_limit});
      deallocate_all(p.pool, allocate_many(p.pool, peak_bytes / bytes, bytes), bytes);
      for (int early = 0; early < 5; ++early) p.come_and_go(blocks, bytes);  // a cache comes later
      for (int cycle = 0; cycle < cycles; ++cycle) {
        const work_of_calls work = p.come_and_go(blocks, bytes);
        BOOST_TEST_INFO("blocks of " << bytes << ", after a peak of " << peak_bytes);
        BOOST_REQUIRE(work.most.pages <= 12U);
        BOOST_REQUIRE(work.all.pages <= 4 * work.calls);
        BOOST_REQUIRE(work.all.upstream_calls == 0U);
      }
    }
  }
}

namespace {

/// Blocks of 64 bytes, freed in random order but for one in sixteen, which holds its span.
struct scattered_blocks {
  explicit scattered_blocks(const std::vector<void*>& blocks) {
    for (std::size_t i = 0; i < blocks.size(); ++i) (i % 16 == 0 ? survivors : others).push_back(blocks[i]);
    std::shuffle(others.begin(), others.end(), std::mt19937(1));
    std::shuffle(survivors.begin(), survivors.end(), std::mt19937(2));
  }
  std::vector<void*> survivors;
  std::vector<void*> others;
};

}  // namespace

// A step sorts 1,024 blocks; an allocation that lacks pages does so twice, and a thread that does its part of
// a trim, which a pool for many threads asks for by itself, sorts up to 4,096 more. Each is a page, and its
// record another one; there are 16,000 pages. About 4 MiB go back at a time, and the last region may be as
// large.
BOOST_AUTO_TEST_CASE_TEMPLATE(no_call_looks_at_all_that_is_free, Pool, both_pools) {
  constexpr bool is_shared = std::is_same_v<Pool, cistern::synchronized_pool_resource>;
  constexpr std::size_t most_pages_of_a_call = (is_shared ? 6 : 2) * 1024 + 512;
  constexpr std::size_t counted = 2'000;
  for (const std::size_t max_idle_bytes : {std::size_t{0}, mib, pool_options{}.max_idle_bytes}) {
    counted_pool<Pool> p({.max_idle_bytes = max_idle_bytes});
    scattered_blocks blocks(allocate_many(p.pool, scaled(1'070'000), 64));
    work_of_calls work;
    // All of them, of which the first and the last ones are counted.
    const auto free_all = [&](const std::vector<void*>& from) {
      for (std::size_t i = 0; i < from.size(); ++i) {
        if (i < counted || i >= from.size() - counted) {
          p.deallocate(from[i], 64, work);
        } else {
          p.open();
          p.pool.deallocate(from[i], 64);
        }
      }
    };
    const auto pairs = [&](std::size_t count, std::size_t bytes) {
      for (std::size_t i = 0; i < count; ++i) p.deallocate(p.allocate(bytes, work), bytes, work);
    };
    free_all(blocks.others);
    pairs(counted / 2, 1'500);
    pairs(counted / 2, 70'000);
    pairs(100, mib);
    std::vector<void*> again(2 * counted);
    for (void*& block : again) block = p.allocate(64, work);
    free_all(blocks.survivors);
    free_all(again);
    BOOST_TEST_MESSAGE("max_idle_bytes " << max_idle_bytes << ": at most " << work.most.pages << " pages, "
                                         << work.most.upstream_calls << " calls, "
                                         << work.most.given_back_bytes / kib << " KiB back");
    BOOST_TEST(work.most.pages <= most_pages_of_a_call);
    BOOST_TEST(work.most.upstream_calls <= 64U);
    BOOST_TEST(work.most.given_back_bytes <= 9 * mib);
    BOOST_TEST(work.all.given_back_bytes > 0U);
  }
}

// The first refusal has looked at all that was free, as a trim does. Those that follow look at what was freed
// since: the block's page, its span's record, and those of a span that became free.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_refusal_looks_at_what_was_freed_since_the_last_one, Pool, both_pools) {
  counted_pool<Pool> p({.max_bytes = 16 * mib});
  std::vector<void*> all;
  try {
    for (;;) all.push_back(p.pool.allocate(64));
  } catch (const std::bad_alloc&) {
  }
  scattered_blocks blocks(all);
  deallocate_all(p.pool, blocks.others, 64);
  p.refused(mib);
  constexpr std::size_t least_pages = 16;
  for (const std::size_t frees : {0U, 1U, 10U, 100U, 1'000U}) {
    p.open();
    for (std::size_t i = 0; i < frees; ++i) {
      p.pool.deallocate(blocks.survivors.back(), 64);
      blocks.survivors.pop_back();
    }
    const call_work work = p.refused(mib);
    BOOST_TEST_MESSAGE("after " << frees << " frees " << work.pages << " pages");
    BOOST_TEST(work.pages <= least_pages + 3 * frees);
    BOOST_TEST(p.refused(mib).pages <= least_pages);
  }
  p.open();
  p.pool.release();
}
