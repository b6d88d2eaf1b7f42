// Faults that other pools have, each a test that names it: none of them may appear here.
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>
#include <random>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/closable_resource.hpp"
#include "../support/death.hpp"
#include "../support/pool_checks.hpp"
#include <sys/mman.h>

using cistern::pool_options;
using cistern::synchronized_pool_resource;
using cistern::unsynchronized_pool_resource;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

using pools = std::tuple<unsynchronized_pool_resource, synchronized_pool_resource>;

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;
constexpr std::size_t page = 4096;

// An upstream that can't align beyond a page, as many can't.
class page_aligned_resource : public std::pmr::memory_resource {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (alignment > page) throw std::bad_alloc();
    return upstream_.allocate(bytes, alignment);
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    upstream_.deallocate(ptr, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
  checking_resource upstream_;
};

// Frees blocks in random order while all memory but the block and its two neighbours in order of allocation
// is closed: whoever walks a list, or searches a table, of live blocks dies.
template <class Pool>
void free_with_all_others_closed(const pool_options& options, std::size_t count, std::size_t bytes) {
  const std::size_t held_bytes = (bytes + bytes / 4 + 2 * page - 1) / page * page;
  closable_resource upstream(count * held_bytes);
  Pool pool(options, &upstream);
  const std::vector<void*> blocks = allocate_many(pool, count, bytes);
  std::vector<std::size_t> previous(count);
  std::vector<std::size_t> next(count);
  for (std::size_t i = 0; i < count; ++i) {
    previous[i] = i == 0 ? count : i - 1;
    next[i] = i + 1;
  }
  std::mt19937_64 random(1);
  std::vector<std::size_t> order(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  for (std::size_t i = 0; i < 300; ++i) {
    const std::size_t freed = order[i];
    upstream.close_all();
    for (const std::size_t open : {previous[freed], freed, next[freed]}) {
      if (open < count) closable_resource::open(blocks[open], held_bytes - page);
    }
    pool.deallocate(blocks[freed], bytes);
    if (previous[freed] < count) next[previous[freed]] = next[freed];
    if (next[freed] < count) previous[next[freed]] = previous[freed];
  }
  upstream.open_all();
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(libstdcxx_pr118681_blocks_are_aligned_as_asked, Pool, pools) {
  checking_resource upstream;
  Pool pool(&upstream);
  for (std::size_t bytes = 1; bytes <= 16 * kib; bytes = bytes * 3 / 2 + 1) {
    for (std::size_t alignment = 1; alignment <= 4 * page; alignment *= 2) {
      for (int i = 0; i < 3; ++i) {  // Also behind the first block of a chunk.
        const user_block block{pool.allocate(bytes, alignment), bytes, alignment};
        BOOST_TEST_INFO(bytes << " bytes aligned to " << alignment);
        BOOST_REQUIRE(block.aligned());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(boost_container_pool_alignment_is_not_ignored, Pool, pools) {
  Pool pool;
  const user_block first{pool.allocate(24, 64), 24, 64};
  const user_block second{pool.allocate(24, 64), 24, 64};
  BOOST_TEST(first.aligned());
  BOOST_TEST(second.aligned());
  pool.deallocate(first.ptr, 24, 64);
  pool.deallocate(second.ptr, 24, 64);
  // Blocks that come from a free list are aligned as well.
  BOOST_TEST((user_block{pool.allocate(8, 64), 8, 64}.aligned()));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(libstdcxx_upstream_throwing_during_replenish_loses_nothing, Pool, pools) {
  checking_resource checked;
  failing_resource upstream(&checked);
  {
    Pool pool(&upstream);
    std::vector<void*> blocks = allocate_many(pool, 10, 256);
    upstream.fail_from_nth(1);
    try {
      for (;;) blocks.push_back(pool.allocate(256));
    } catch (const std::bad_alloc&) {
    }
    pool.check_invariants();
    BOOST_CHECK_THROW((void)pool.allocate(100 * kib), std::bad_alloc);
    upstream.disarm();
    for (int i = 0; i < 100; ++i) blocks.push_back(pool.allocate(256));
    deallocate_all(pool, blocks, 256);
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
    pool.check_invariants();
  }
  BOOST_TEST(checked.outstanding_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(libstdcxx_no_15_mib_are_asked_for_512_kib, Pool, pools) {
  checking_resource upstream;
  Pool pool(&upstream);
  (void)pool.allocate(512 * kib);
  // A record for each page, where pages are the pool's unit.
  BOOST_TEST(upstream.largest_request_bytes() <= 512 * kib + 512 * kib / 32);
  BOOST_TEST(upstream.outstanding_bytes() <= 512 * kib + 16 * kib);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(mimalloc_576_upstream_may_refuse_alignments_above_a_page, Pool, pools) {
  page_aligned_resource upstream;
  Pool pool({.largest_required_pool_block = 64 * mib}, &upstream);
  for (std::size_t bytes = 1; bytes <= 64 * mib; bytes *= 2) {
    pool.deallocate(pool.allocate(bytes), bytes);
    pool.deallocate(pool.allocate(bytes, page), bytes, page);
  }
  BOOST_CHECK_THROW((void)pool.allocate(1, 2 * page), std::bad_alloc);  // Here the caller did ask.
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(libstdcxx_libcxx_an_oversize_free_looks_at_no_other_block, Pool, pools) {
  const std::size_t count = scaled(40'000);
  BOOST_TEST(ending_of([=] {
               free_with_all_others_closed<Pool>({.largest_required_pool_block = 512}, count, 1000);
             }) == "exited with 0");
}

BOOST_AUTO_TEST_CASE(the_closed_memory_would_catch_a_walk) {
  const death seen = run_and_die([] {
    closable_resource upstream(10 * page);
    auto* const block = static_cast<volatile char*>(upstream.allocate(100));
    block[0] = 1;
    upstream.close_all();
    block[0] = 2;
  });
  BOOST_TEST(seen.description != "exited with 0");
}

BOOST_AUTO_TEST_CASE(libcxx_a_large_block_free_looks_at_no_other_block) {
  const std::size_t count = scaled(1'000);
  BOOST_TEST(ending_of([=] {
               // Records lie behind all blocks of a region: only those are closed.
               constexpr std::size_t bytes = unsynchronized_pool_resource::good_size(257 * kib);
               closable_resource upstream(2 * count * bytes);
               unsynchronized_pool_resource pool({.max_idle_bytes = 0}, &upstream);
               std::vector<void*> blocks = allocate_many(pool, count, bytes);
               for (void* block : blocks) closable_resource::close(block, bytes);
               std::shuffle(blocks.begin(), blocks.end(), std::mt19937_64(1));
               for (void* block : blocks) {
                 closable_resource::open(block, bytes);
                 pool.deallocate(block, bytes);
                 // A hardened build clears the mark that may be at the beginning of a region that goes back.
                 if (!cistern::detail::hardened_build) closable_resource::close(block, bytes);
               }
             }) == "exited with 0");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(libcxx_2_kib_are_pooled_below_a_bound_of_4_kib, Pool, pools) {
  checking_resource upstream;
  Pool pool({.largest_required_pool_block = 4096}, &upstream);
  for (const std::size_t bytes : {2048U, 2049U, 4095U, 4096U}) {
    for (std::size_t alignment = 8; alignment <= page; alignment *= 2) {
      pool.deallocate(pool.allocate(bytes, alignment), bytes, alignment);
    }
  }
  BOOST_TEST(pool.statistics().oversize.allocations == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(libstdcxx_libcxx_memory_goes_back_after_a_million_frees, Pool, pools) {
  const std::size_t count = scaled(1'000'000);
  checking_resource upstream;
  Pool pool({.max_idle_bytes = count * 100 / 8}, &upstream);
  deallocate_all(pool, allocate_many(pool, count, 100), 100);
  BOOST_TEST(upstream.peak_bytes() >= count * 100);
  BOOST_TEST(upstream.outstanding_bytes() <= count * 100 / 2);
  (void)pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() <= 64 * kib);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(msvc_max_blocks_per_chunk_is_honoured, Pool, pools) {
  checking_resource upstream;
  Pool pool(std::pmr::pool_options{.max_blocks_per_chunk = 4, .largest_required_pool_block = 0}, &upstream);
  (void)allocate_many(pool, 1000, 1024);
  BOOST_TEST(upstream.allocations() >= 250U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(msvc_64_bytes_are_not_rounded_to_128, Pool, pools) {
  static_assert(Pool::good_size(64) == 64);
  Pool pool;
  BOOST_TEST(pool.allocate_at_least(64).bytes == 64U);
  BOOST_TEST(pool.statistics().in_use_bytes == 64U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(thrust_oversize_blocks_can_be_freed_in_any_order, Pool, pools) {
  checking_resource upstream;
  {
    Pool pool({.largest_required_pool_block = 256}, &upstream);
    std::mt19937_64 random(1);
    for (int round = 0; round < 5; ++round) {
      std::vector<user_block> blocks;
      for (std::size_t i = 0; i < 500; ++i) {
        const std::size_t bytes = 257 + below(random, 3000);
        blocks.push_back({pool.allocate(bytes), bytes, 16, static_cast<unsigned char>(random())});
        fill(blocks.back(), bytes);
      }
      std::shuffle(blocks.begin(), blocks.end(), random);
      while (blocks.size() > 50) {
        BOOST_REQUIRE(filled(blocks.back(), blocks.back().bytes));
        pool.deallocate(blocks.back().ptr, blocks.back().bytes);
        blocks.pop_back();
      }
      BOOST_TEST(pool.statistics().oversize.live_blocks == 50U);
      pool.release();  // Finds all that are left.
      BOOST_TEST(upstream.outstanding_bytes() == 0U);
    }
  }
  BOOST_TEST(upstream.errors() == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(libcxx_sizes_are_not_rounded_to_powers_of_two, Pool, pools) {
  Pool pool;
  std::mt19937_64 random(1);
  std::size_t asked_bytes = 0;
  for (std::size_t i = 0; i < 10'000; ++i) {
    const std::size_t bytes = 65 + below(random, 8000);
    (void)pool.allocate(bytes);
    asked_bytes += bytes;
  }
  BOOST_TEST(pool.statistics().in_use_bytes <= asked_bytes + asked_bytes / 4);
  BOOST_TEST(pool.statistics().upstream_bytes <= 2 * asked_bytes);
}
