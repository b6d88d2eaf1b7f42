// All blocks of one size: where they come from, what a trim gives back and what it keeps, and the accounts,
// for small blocks carved from chunks and large ones that come singly.
//
// Through as narrow a door as a pool has: take a block, put one back, trim, release. Plan: 1. blocks are
// distinct, aligned, and carved in order of address; 2. chunks start small, grow, and keep to their
// bounds; 3. the limit and failures; 4. trims; 5. release; 6. blocks that come singly; 7. statistics.
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/bucket.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <random>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"

using cistern::no_limit;
using cistern::detail::bucket;
using cistern::detail::bucket_shape;
using cistern::detail::upstream_account;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t kib = 1024;

// A bucket as a pool uses it, over an upstream that aborts on every misuse.
class store {
 public:
  explicit store(std::size_t block_bytes, std::size_t max_bytes = no_limit,
                 std::size_t max_blocks_per_chunk = 65'536)
      : account_(&failing, max_bytes) {
    const unsigned index = cistern::detail::class_of(block_bytes - 1);
    shape_ = {index, cistern::detail::class_block_bytes(index), max_blocks_per_chunk};
    BOOST_REQUIRE(shape_.block_bytes == block_bytes);
  }
  store(const store&) = delete;
  store& operator=(const store&) = delete;
  ~store() {
    release();
    BOOST_TEST(checked.outstanding_bytes() == 0U);
  }

  // Null where the limit is reached.
  std::byte* take() {
    void* block = nullptr;
    if (bucket_.head != nullptr) {
      block = bucket_.pop();
    } else {
      block = bucket_.carve(shape_.block_bytes);
      if (block == nullptr && bucket_.add_chunk(shape_, account_)) block = bucket_.carve(shape_.block_bytes);
      if (block == nullptr) return nullptr;
      ++bucket_.misses;
    }
    cistern::detail::asan_unpoison(block, shape_.block_bytes);
    return static_cast<std::byte*>(block);
  }
  std::vector<std::byte*> take(std::size_t count) {
    std::vector<std::byte*> blocks(count);
    for (std::byte*& block : blocks) {
      block = take();
      BOOST_REQUIRE(block != nullptr);
    }
    return blocks;
  }
  void put(std::byte* block) { bucket_.push(block, shape_.block_bytes); }
  void put(const std::vector<std::byte*>& blocks) {
    for (std::byte* block : blocks) put(block);
  }
  void discard(std::byte* block) { bucket_.discard(block, shape_, account_); }
  std::size_t trim(std::size_t surplus_bytes) { return bucket_.trim(shape_, account_, surplus_bytes); }
  void release() { bucket_.release(shape_, account_); }
  [[nodiscard]] bool holds(const void* block) const { return bucket_.holds(block, shape_.block_bytes); }

  // The accounts agree, and so many blocks are out.
  void check(std::size_t live_blocks) const {
    bucket_.check_invariants(shape_, 0);
    cistern::pool_statistics s;
    bucket_.add_to(s, shape_, true, 0, bucket_.hits());
    account_.add_to(s);
    BOOST_TEST(s.in_use_bytes == live_blocks * shape_.block_bytes);
    BOOST_TEST(accounts_fault(s, checked) == "");
  }
  [[nodiscard]] cistern::bucket_statistics row() const {
    cistern::pool_statistics s;
    bucket_.add_to(s, shape_, true, 0, bucket_.hits());
    return s.buckets.empty() ? cistern::bucket_statistics{} : s.buckets.front();
  }

  cistern::testing::checking_resource checked;
  cistern::testing::failing_resource failing{&checked};

 private:
  upstream_account account_;
  bucket_shape shape_{};
  bucket bucket_;
};

constexpr std::size_t everything = SIZE_MAX;

}  // namespace

BOOST_AUTO_TEST_CASE(blocks_are_distinct_and_aligned_for_every_size) {
  for (unsigned index = 0; cistern::detail::class_block_bytes(index) <= 128 * kib; ++index) {
    const std::size_t block_bytes = cistern::detail::class_block_bytes(index);
    store blocks(block_bytes);
    std::vector<std::byte*> taken = blocks.take(20);
    blocks.check(20);
    for (const std::byte* block : taken) {
      BOOST_TEST(reinterpret_cast<std::uintptr_t>(block) % cistern::detail::class_alignment(index) == 0U);
      BOOST_TEST(blocks.holds(block));
    }
    std::sort(taken.begin(), taken.end());
    for (std::size_t i = 1; i < taken.size(); ++i) {
      BOOST_TEST(static_cast<std::size_t>(taken[i] - taken[i - 1]) >= block_bytes);
    }
    blocks.put(taken);
    blocks.check(0);
  }
}

BOOST_AUTO_TEST_CASE(the_block_freed_last_is_taken_first) {
  store blocks(64);
  const auto taken = blocks.take(3);
  blocks.put(taken);
  BOOST_TEST(blocks.take() == taken[2]);
  BOOST_TEST(blocks.take() == taken[1]);
  BOOST_TEST(blocks.take() == taken[0]);
}

BOOST_AUTO_TEST_CASE(new_blocks_lie_in_order_of_address) {
  store blocks(64);
  const auto taken = blocks.take(2'000);
  std::size_t steps_up = 0;
  for (std::size_t i = 1; i < taken.size(); ++i) steps_up += taken[i] == taken[i - 1] + 64 ? 1U : 0U;
  BOOST_TEST(steps_up + blocks.checked.allocations() >= taken.size());  // a jump from chunk to chunk at most
}

BOOST_AUTO_TEST_CASE(a_small_store_is_small_and_a_large_one_makes_few_calls) {
  store blocks(64);
  (void)blocks.take();
  BOOST_TEST(blocks.checked.outstanding_bytes() <= 4 * kib);
  (void)blocks.take(99'999);  // 6.4 MB
  BOOST_TEST(blocks.checked.outstanding_bytes() <= 100'000 * 64 * 3 / 2);
  BOOST_TEST(blocks.checked.allocations() <= 40U);
  BOOST_TEST(blocks.checked.largest_request_bytes() <= 1024 * kib);
}

BOOST_AUTO_TEST_CASE(no_chunk_has_more_blocks_than_asked_for) {
  for (const std::size_t most : {1U, 3U, 10U}) {
    store blocks(64, no_limit, most);
    (void)blocks.take(100);
    BOOST_TEST(blocks.checked.largest_request_bytes() < (most + 2) * 64);
    BOOST_TEST(blocks.checked.allocations() >= 100 / most);
    blocks.check(100);
  }
}

BOOST_AUTO_TEST_CASE(near_the_limit_chunks_shrink_to_a_single_block) {
  store blocks(512, 10 * kib);
  std::size_t count = 0;
  while (blocks.take() != nullptr) ++count;
  BOOST_TEST(count >= 10 * kib / (512 + 64));  // at most a record for each
  BOOST_TEST(blocks.checked.peak_bytes() <= 10 * kib);
  BOOST_TEST(blocks.checked.failed_allocations() == 0U);  // upstream wasn't asked
  blocks.check(count);
}

BOOST_AUTO_TEST_CASE(a_failure_of_upstream_leaves_all_as_it_was) {
  store blocks(64);
  const auto taken = blocks.take(10);
  std::size_t count = 10;
  blocks.failing.fail_from_nth(1);
  BOOST_CHECK_THROW(for (;; ++count)(void) blocks.take(), std::bad_alloc);
  blocks.check(count);
  blocks.failing.disarm();
  BOOST_TEST(blocks.take() != nullptr);
  blocks.check(count + 1);
}

BOOST_AUTO_TEST_CASE(an_upstream_that_refuses_is_asked_for_less) {
  store blocks(64);
  (void)blocks.take(10'000);  // chunks are large by now
  std::size_t count = 10'000;
  const std::uint64_t chunks = blocks.checked.allocations();
  while (blocks.checked.allocations() == chunks) {
    blocks.failing.fail_nth(1);
    BOOST_REQUIRE(blocks.take() != nullptr);
    ++count;
  }
  BOOST_TEST(blocks.failing.failures() == 1U);
  blocks.check(count);
}

BOOST_AUTO_TEST_CASE(a_trim_takes_what_is_wholly_free_and_nothing_else) {
  for (unsigned seed = 0; seed < 5; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      store blocks(64);
      auto taken = blocks.take(5'000);
      // Live blocks in the first part only: the chunks behind are free.
      std::vector<std::byte*> live;
      std::vector<std::byte*> freed;
      for (std::size_t i = 0; i < taken.size(); ++i)
        (i < 1'000 && i % 7 == 0 ? live : freed).push_back(taken[i]);
      std::shuffle(freed.begin(), freed.end(), random);
      blocks.put(freed);
      for (std::byte* block : live) *block = std::byte{1};
      const std::size_t before = blocks.checked.outstanding_bytes();
      const std::size_t given_back = blocks.trim(everything);
      BOOST_TEST(given_back == before - blocks.checked.outstanding_bytes());
      BOOST_TEST(blocks.checked.outstanding_bytes() <= 3 * 1'000 * 64);
      blocks.check(live.size());
      for (std::byte* block : live) BOOST_TEST((blocks.holds(block) && *block == std::byte{1}));
      BOOST_TEST(blocks.trim(everything) == 0U);  // there is no more
      blocks.put(live);
      (void)blocks.trim(everything);
      BOOST_TEST(blocks.checked.outstanding_bytes() == 0U);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_trim_stops_when_enough_is_given_back) {
  store blocks(64);
  blocks.put(blocks.take(50'000));
  const std::size_t before = blocks.checked.outstanding_bytes();
  const std::size_t given_back = blocks.trim(100 * kib);
  BOOST_TEST(given_back >= 100 * kib);
  BOOST_TEST(blocks.checked.outstanding_bytes() == before - given_back);
  BOOST_TEST(blocks.checked.outstanding_bytes() > 0U);
  BOOST_TEST(blocks.trim(0) == 0U);
  blocks.check(0);
}

BOOST_AUTO_TEST_CASE(a_trim_leaves_the_rest_in_order_of_address) {
  std::mt19937 random(1);
  store blocks(64);
  auto taken = blocks.take(3'000);
  std::byte* const kept = taken[1'500];
  taken.erase(taken.begin() + 1'500);
  std::shuffle(taken.begin(), taken.end(), random);
  blocks.put(taken);
  (void)blocks.trim(everything);
  std::size_t steps_up = 0;
  const std::size_t free_blocks = blocks.row().depth;
  BOOST_REQUIRE(free_blocks > 10U);
  std::byte* previous = blocks.take();
  for (std::size_t i = 1; i < free_blocks; ++i) {
    std::byte* const next = blocks.take();
    steps_up += next > previous ? 1U : 0U;
    previous = next;
  }
  BOOST_TEST(steps_up == free_blocks - 1);  // all of one chunk
  BOOST_TEST(blocks.holds(kept));
}

BOOST_AUTO_TEST_CASE(after_a_release_it_is_as_new) {
  store blocks(64);
  const auto taken = blocks.take(1'000);
  blocks.put({taken.begin(), taken.begin() + 500});
  blocks.release();
  BOOST_TEST(blocks.checked.outstanding_bytes() == 0U);
  BOOST_TEST(!blocks.holds(taken.front()));
  blocks.check(0);
  (void)blocks.take(1'000);
  blocks.check(1'000);
}

BOOST_AUTO_TEST_CASE(large_blocks_come_and_go_singly) {
  constexpr std::size_t block_bytes = 64 * kib;
  store blocks(block_bytes);
  const auto taken = blocks.take(5);
  BOOST_TEST(blocks.checked.allocations() == 5U);
  BOOST_TEST(blocks.checked.outstanding_bytes() <= 5 * (block_bytes + 64));
  blocks.discard(taken[2]);
  BOOST_TEST(blocks.checked.outstanding_blocks() == 4U);
  BOOST_TEST(!blocks.holds(taken[2]));
  blocks.check(4);
  blocks.put(taken[0]);
  BOOST_TEST(blocks.trim(1) >= block_bytes);
  BOOST_TEST(blocks.checked.outstanding_blocks() == 3U);
  blocks.check(3);
  const auto row = blocks.row();
  BOOST_TEST(row.misses == 5U);
  BOOST_TEST(row.discarded == 1U);
  BOOST_TEST(row.returned == 1U);
}

BOOST_AUTO_TEST_CASE(its_row_counts_every_operation) {
  store blocks(64);
  auto taken = blocks.take(10);
  blocks.put(taken);
  taken = blocks.take(4);
  const auto row = blocks.row();
  BOOST_TEST(row.block_bytes == 64U);
  BOOST_TEST(row.misses == 10U);
  BOOST_TEST(row.hits == 4U);
  BOOST_TEST(row.returned == 10U);
  BOOST_TEST(row.discarded == 0U);
  BOOST_TEST(row.depth == 6U);
  BOOST_TEST(row.live_blocks == 4U);
}
