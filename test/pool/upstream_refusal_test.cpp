// An upstream that says std::bad_alloc is treated like max_bytes: less is asked for, down to one block; then
// what is idle goes back, the caller's cache included, and upstream is asked again; only then is it thrown
// on. Plan: a full limit below and memory idle as another size; a fixed arena is used up to its last part,
// and again by another size; oversize; sizes that no object can have; null mode; other exceptions pass at
// once; a refusal changes nothing.
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/bad_allocation.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>
#include <optional>
#include <random>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/throwing_resource.hpp"

using cistern::limit_adaptor;
using cistern::testing::checking_resource;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = kib * kib;

/// As many blocks as there is memory for.
template <class Pool>
std::vector<void*> allocate_all(Pool& pool, std::size_t bytes) {
  std::vector<void*> blocks;
  try {
    for (;;) blocks.push_back(pool.allocate(bytes, 8));
  } catch (const std::bad_alloc&) {
  }
  return blocks;
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(memory_idle_as_one_size_serves_another_under_a_full_limit, Pool, pools) {
  checking_resource checked;
  limit_adaptor limit(4 * mib, &checked);
  Pool pool(&limit);
  for (const auto& [first, second] :
       {std::pair<std::size_t, std::size_t>{64, kib}, {kib, 64}, {300 * kib, 4000}}) {
    const std::vector<void*> before = allocate_all(pool, first);
    // Regions that were cut for small blocks have no more room for large ones than whole multiples.
    const bool in_old_regions = first > 32 * kib;
    BOOST_TEST(before.size() * Pool::good_size(first) >= 4 * mib * (in_old_regions ? 6 : 8) / 10);
    deallocate_all(pool, before, first, 8);
    const std::vector<void*> after = allocate_all(pool, second);
    BOOST_TEST(after.size() * second >= 4 * mib * 9 / 10);
    BOOST_TEST(fault_in(pool, checked) == "");
    deallocate_all(pool, after, second, 8);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(spans_of_their_own_are_sorted_before_a_refusal, Pool, pools) {
  checking_resource checked;
  limit_adaptor limit(mib, &checked);
  Pool pool({.max_blocks_per_chunk = 16}, &limit);
  for (const auto& [first, second] : {std::pair<std::size_t, std::size_t>{64, kib}, {kib, 64}}) {
    deallocate_all(pool, allocate_all(pool, first), first, 8);
    const std::vector<void*> after = allocate_all(pool, second);
    BOOST_TEST(after.size() * second >= mib * 8 / 10);
    BOOST_TEST(fault_in(pool, checked) == "");
    deallocate_all(pool, after, second, 8);
  }
}

BOOST_AUTO_TEST_SUITE(fixed_arenas)

namespace {

/// A buffer that begins so far behind a page, with nothing behind it.
class arena {
 public:
  arena(std::size_t bytes, std::size_t behind_page_bytes) : memory_(bytes + 2 * page_bytes) {
    const std::size_t to_page = (~reinterpret_cast<std::uintptr_t>(memory_.data()) + 1) & (page_bytes - 1);
    bump_.emplace(memory_.data() + to_page + behind_page_bytes, bytes, std::pmr::null_memory_resource());
    checked.emplace(&*bump_);
  }

  std::optional<checking_resource> checked;

 private:
  static constexpr std::size_t page_bytes = 4 * kib;
  std::vector<std::byte> memory_;
  std::optional<std::pmr::monotonic_buffer_resource> bump_;
};

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(they_are_used_up_by_small_blocks, Pool, pools) {
  for (const std::size_t arena_bytes : {64 * kib, 256 * kib, mib}) {
    for (std::size_t block_bytes = 16; block_bytes <= 512; block_bytes = Pool::good_size(block_bytes + 1)) {
      for (const std::size_t behind : {std::size_t{0}, std::size_t{16}, 4 * kib - 16}) {
        arena over(arena_bytes, behind);
        Pool pool(&*over.checked);
        const std::vector<void*> blocks = allocate_all(pool, block_bytes);
        BOOST_TEST_CONTEXT(arena_bytes << " bytes of " << block_bytes << ", " << behind << " behind a page") {
          BOOST_TEST(blocks.size() * block_bytes >=
                     arena_bytes * 88 / 100);  // a thread's cache takes 3.5 KiB
          BOOST_TEST(fault_in(pool, *over.checked) == "");
        }
        deallocate_all(pool, blocks, block_bytes, 8);
      }
    }
  }
}

// What goes back to such an upstream is lost: so nothing does.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_monotonic_upstream_gets_nothing_back, Pool, pools) {
  std::vector<std::byte> memory(mib);
  for (const std::size_t max_idle_bytes : {std::size_t{0}, 64 * mib}) {
    std::pmr::monotonic_buffer_resource arena(memory.data(), mib, std::pmr::null_memory_resource());
    Pool pool({.max_idle_bytes = max_idle_bytes}, &arena);
    std::size_t served = 0;
    for (int round = 0; round < 5; ++round) {
      const std::vector<void*> blocks = allocate_all(pool, 64);
      BOOST_TEST(blocks.size() >= served);
      served = blocks.size();
      deallocate_all(pool, blocks, 64, 8);
      for (const std::size_t too_many_bytes : {2 * mib, std::size_t{2} << 30}) {  // one of them oversize
        BOOST_CHECK_THROW((void)pool.allocate(too_many_bytes), std::bad_alloc);
      }
      BOOST_TEST(pool.trim() == 0U);
      BOOST_TEST(pool.statistics().upstream_deallocations == 0U);
    }
    BOOST_TEST(served * 64 >= mib * 88 / 100);
    pool.check_invariants();
  }
}

// Nobody knows that of one behind an adaptor: it is found out with one region.
BOOST_AUTO_TEST_CASE_TEMPLATE(where_giving_back_is_vain_a_refusal_costs_a_region, Pool, pools) {
  arena over(mib, 0);
  Pool pool(&*over.checked);
  deallocate_all(pool, allocate_all(pool, 64), 64, 8);
  BOOST_CHECK_THROW((void)pool.allocate(2 * mib), std::bad_alloc);
  const cistern::pool_statistics after = pool.statistics();
  BOOST_TEST(after.given_back_need_bytes > 0U);
  BOOST_TEST(after.given_back_need_bytes <= mib / 4);
  const std::vector<void*> blocks = allocate_all(pool, 64);
  BOOST_TEST(blocks.size() * 64 >= mib * 5 / 8);
  deallocate_all(pool, blocks, 64, 8);
}

// A limit has a use for it, whatever the size that is asked for.
BOOST_AUTO_TEST_CASE_TEMPLATE(where_giving_back_helps_all_of_it_goes, Pool, pools) {
  checking_resource checked;
  limit_adaptor limit(mib, &checked);
  Pool pool({.thread_cache_bytes = 0}, &limit);
  deallocate_all(pool, allocate_all(pool, 64), 64, 8);
  void* const most = pool.allocate(700 * kib);
  pool.deallocate(most, 700 * kib);
  pool.check_invariants();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(what_was_one_size_serves_more_aligned_ones, Pool, pools) {
  for (std::size_t alignment = 64; alignment <= 4 * kib; alignment *= 2) {
    arena over(64 * kib, 16);
    Pool pool(&*over.checked);
    deallocate_all(pool, allocate_all(pool, 48), 48, 8);
    std::vector<void*> blocks;
    try {
      for (;;) blocks.push_back(pool.allocate(alignment, alignment));
    } catch (const std::bad_alloc&) {
    }
    BOOST_TEST_CONTEXT("aligned to " << alignment) {
      for (const void* block : blocks) {
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(block) % alignment == 0U);
      }
      // Each of the small regions may lose most of a page to that, once more than a quarter of one.
      const std::size_t percent = alignment <= 512 ? 75 : alignment == kib ? 60 : 35;
      BOOST_TEST(blocks.size() * alignment >= 64 * kib * percent / 100);
      BOOST_TEST(fault_in(pool, *over.checked) == "");
    }
    for (void* const block : blocks) pool.deallocate(block, alignment, alignment);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE_TEMPLATE(an_oversize_request_gets_what_lies_idle, Pool, pools) {
  for (const std::size_t bound : {std::size_t{0}, 64 * kib}) {
    checking_resource checked;
    limit_adaptor limit(4 * mib, &checked);
    Pool pool({.largest_required_pool_block = bound}, &limit);
    deallocate_all(pool, allocate_all(pool, 64), 64, 8);
    void* const large = pool.allocate(3 * mib, 8);
    BOOST_TEST(fault_in(pool, checked) == "");
    pool.deallocate(large, 3 * mib, 8);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_refusal_changes_nothing, Pool, pools) {
  checking_resource checked;
  limit_adaptor limit(mib, &checked);
  Pool pool(&limit);
  const std::vector<void*> live = allocate_all(pool, 1000);
  const auto before = pool.statistics();
  BOOST_CHECK_THROW((void)pool.allocate(1000, 8), std::bad_alloc);
  BOOST_CHECK_THROW((void)pool.allocate(100 * kib, 8), std::bad_alloc);
  BOOST_CHECK_THROW((void)pool.allocate(64 * mib, 8), std::bad_alloc);
  const auto after = pool.statistics();
  BOOST_TEST(after.in_use_bytes == before.in_use_bytes);
  BOOST_TEST(after.upstream_bytes == before.upstream_bytes);
  BOOST_TEST(fault_in(pool, checked) == "");
  deallocate_all(pool, live, 1000, 8);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(where_nothing_lies_idle_upstream_is_not_asked_for_the_same_again, Pool, pools) {
  limit_adaptor limit(1, nullptr);
  Pool pool({.thread_cache_bytes = 0}, &limit);
  BOOST_CHECK_THROW((void)pool.allocate(300 * kib, 8), std::bad_alloc);
  BOOST_TEST(limit.refusals() == 1U);
}

// A refusal is an exception, and a steady state beside a limit would have them all day long.
BOOST_AUTO_TEST_CASE_TEMPLATE(upstream_that_refused_is_asked_last_and_for_little, Pool, pools) {
  for (const auto& [least, most] : {std::pair<std::size_t, std::size_t>{8, kib}, {kib, 32 * kib}}) {
    limit_adaptor limit(4 * mib, nullptr);
    Pool pool(&limit);
    std::minstd_rand random(1);
    std::uniform_int_distribution<std::size_t> sizes(least, most);
    std::vector<std::pair<void*, std::size_t>> live;
    for (std::size_t live_bytes = 0; live_bytes < 3 * mib; live_bytes += live.back().second) {
      const std::size_t bytes = sizes(random);
      live.emplace_back(pool.allocate(bytes), bytes);
    }
    std::uint64_t refused = 0;
    const auto replace_some = [&](int blocks) {
      for (int i = 0; i < blocks; ++i) {
        auto& [block, bytes] = live[random() % live.size()];
        if (block != nullptr) pool.deallocate(block, bytes);
        bytes = sizes(random);
        try {
          block = pool.allocate(bytes);
        } catch (const std::bad_alloc&) {
          block = nullptr;
          ++refused;
        }
      }
    };
    replace_some(20'000);
    const std::uint64_t asked_before = limit.refusals();
    refused = 0;
    constexpr int replaced = 20'000;
    replace_some(replaced);
    BOOST_TEST(limit.refusals() - asked_before <= replaced / 20 + 8 * refused);
    for (const auto& [block, bytes] : live) {
      if (block != nullptr) pool.deallocate(block, bytes);
    }
  }
}

// What others gave back meanwhile isn't missed for ever.
BOOST_AUTO_TEST_CASE_TEMPLATE(upstream_that_refused_is_asked_again, Pool, pools) {
  limit_adaptor limit(mib, nullptr);
  Pool pool({.thread_cache_bytes = 0}, &limit);
  const std::vector<void*> live = allocate_all(pool, 4000);
  limit.set_limit_bytes(4 * mib);
  const std::vector<void*> more = allocate_all(pool, 4000);
  BOOST_TEST(live.size() + more.size() >= 4 * mib * 9 / 10 / 4000);
  deallocate_all(pool, more, 4000, 8);
  deallocate_all(pool, live, 4000, 8);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(sizes_no_object_can_have_are_asked_of_upstream, Pool, pools) {
  for (const bool pass_through : {false, true}) {
    checking_resource upstream;
    Pool pool({.pass_through = pass_through}, &upstream);
    void* const live = pool.allocate(100);
    const auto before = pool.statistics();
    // The first would be one with what an oversize block has beside it.
    const std::size_t first = pass_through ? std::size_t{PTRDIFF_MAX} + 2 : std::size_t{PTRDIFF_MAX} - 8;
    for (const std::size_t bytes : {first, std::size_t{PTRDIFF_MAX} + 1, SIZE_MAX - 100'000}) {
      BOOST_CHECK_THROW((void)pool.allocate(bytes), cistern::bad_allocation);
      BOOST_TEST(upstream.largest_request_bytes() >= bytes);
      BOOST_CHECK_THROW((void)pool.allocate_at_least(bytes), cistern::bad_allocation);
    }
    BOOST_TEST(upstream.failed_allocations() == 6U);
    BOOST_TEST((pool.statistics() == before));
    BOOST_TEST(fault_in(pool, upstream) == "");
    pool.deallocate(live, 100);
    Pool over_new({.pass_through = pass_through});
    BOOST_CHECK_THROW((void)over_new.allocate(SIZE_MAX - 100, 4096), cistern::bad_allocation);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(other_exceptions_pass_at_once, Pool, pools) {
  checking_resource checked;
  throwing_resource upstream(1, &checked);  // the first chunk comes
  Pool pool({.thread_cache_bytes = 0}, &upstream);
  pool.deallocate(pool.allocate(64, 8), 64, 8);
  const std::size_t idle_bytes = pool.statistics().idle_bytes;
  BOOST_CHECK_THROW((void)pool.allocate(100 * kib, 8), unusual_error);  // which the first one can't hold
  BOOST_TEST(pool.statistics().idle_bytes == idle_bytes);               // nothing was given back for its sake
  BOOST_TEST(fault_in(pool, checked) == "");
}
