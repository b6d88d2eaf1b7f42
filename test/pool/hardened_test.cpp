// What a hardened build finds of misuse of a pool, and that it finds nothing where there is none. The program
// compiles the pools itself, hardened, so that every build runs it.
#include <cistern/detail/base/assert.hpp>
#include <cistern/misuse_handler.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory_resource>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

using cistern::pool_options;
using cistern::synchronized_pool_resource;
using cistern::unsynchronized_pool_resource;
using cistern::test_support::dies_saying;
using cistern::test_support::ending_of;

static_assert(cistern::detail::hardened_build && !cistern::detail::checked_build);

namespace {

const std::string freed_before = "was given back before";
const std::string overwritten = "a free block was written to";

/// Of the smallest class, small ones, medium ones, and of classes whose blocks are runs of pages.
constexpr std::array<std::size_t, 6> sizes{16, 24, 100, 5'000, 40'000, 300'000};

template <class Pool>
void find_double_frees() {
  for (const std::size_t bytes : sizes) {
    BOOST_TEST_CONTEXT(bytes << " bytes") {
      BOOST_TEST(dies_saying("cistern: ", [&] {
        Pool pool;
        void* const block = pool.allocate(bytes);
        pool.deallocate(block, bytes);
        pool.deallocate(block, bytes);
      }));
      BOOST_TEST(dies_saying("cistern: ", [&] {
        Pool pool;
        std::vector<void*> blocks(20);
        for (void*& block : blocks) block = pool.allocate(bytes);
        for (void* block : blocks) pool.deallocate(block, bytes);
        pool.deallocate(blocks[7], bytes);
      }));
    }
  }
}

template <class Pool>
void find_overwritten_links() {
  for (const std::size_t bytes : sizes) {
    if (bytes > 32'768) continue;  // those are told apart by records beside them
    for (const std::size_t offset : {std::size_t{0}, std::size_t{4}, std::size_t{7}}) {
      BOOST_TEST_CONTEXT(bytes << " bytes, byte " << offset) {
        BOOST_TEST(dies_saying(overwritten, [&] {
          Pool pool;
          std::vector<void*> blocks(8);
          for (void*& block : blocks) block = pool.allocate(bytes);
          for (void* block : blocks) pool.deallocate(block, bytes);
          static_cast<unsigned char*>(blocks[3])[offset] ^= 0x41U;
          for (void*& block : blocks) block = pool.allocate(bytes);
        }));
      }
    }
  }
}

/// Blocks of all sizes come and go, and are filled and checked meanwhile.
void live_on(std::pmr::memory_resource& pool, unsigned seed) {
  struct block {
    unsigned char* data;
    std::size_t bytes;
  };
  std::minstd_rand random(seed);
  std::vector<block> live;
  for (int step = 0; step < 20'000; ++step) {
    if (live.size() < 50 || (live.size() < 500 && random() % 2 == 0)) {
      const std::size_t bytes = 1 + random() % (std::size_t{16} << random() % (random() % 50 == 0 ? 15 : 8));
      auto* const data = static_cast<unsigned char*>(pool.allocate(bytes));
      std::memset(data, static_cast<int>(bytes % 251), bytes);
      live.push_back({data, bytes});
    } else {
      std::swap(live[random() % live.size()], live.back());
      const block last = live.back();
      live.pop_back();
      BOOST_REQUIRE(last.data[0] == last.bytes % 251);
      BOOST_REQUIRE(last.data[last.bytes - 1] == last.bytes % 251);
      pool.deallocate(last.data, last.bytes);
    }
  }
  for (const block& each : live) pool.deallocate(each.data, each.bytes);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_double_free_is_found_in_every_class) {
  find_double_frees<unsynchronized_pool_resource>();
  find_double_frees<synchronized_pool_resource>();
}

BOOST_AUTO_TEST_CASE(a_double_free_by_another_thread_is_found) {
  BOOST_TEST(dies_saying(freed_before, [] {
    synchronized_pool_resource pool;
    void* const block = pool.allocate(100);
    std::thread([&] { pool.deallocate(block, 100); }).join();
    pool.deallocate(block, 100);
  }));
}

BOOST_AUTO_TEST_CASE(a_double_free_of_what_was_cleared_is_found) {
  const pool_options zeroing{.zero_on_free = true};
  BOOST_TEST(dies_saying(freed_before, [&] {
    unsynchronized_pool_resource pool(zeroing);
    void* const block = pool.allocate(100);
    pool.deallocate(block, 100);
    pool.deallocate(block, 100);
  }));
  BOOST_TEST(dies_saying(freed_before, [&] {
    synchronized_pool_resource pool(zeroing);
    void* const block = pool.allocate(100);
    pool.deallocate(block, 100);
    pool.deallocate(block, 100);
  }));
}

BOOST_AUTO_TEST_CASE(a_link_that_was_overwritten_is_not_followed) {
  find_overwritten_links<unsynchronized_pool_resource>();
  find_overwritten_links<synchronized_pool_resource>();
}

/// What it gives isn't zero.
class dirty_resource final : public std::pmr::memory_resource {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return std::memset(std::pmr::new_delete_resource()->allocate(bytes, alignment), 0x55, bytes);
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    std::pmr::new_delete_resource()->deallocate(memory, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
};

// Where the span of a block is looked up: here at once, as no list may have anything.
template <class Pool>
void find_wrong_frees() {
  const pool_options no_lists{.max_idle_blocks_per_bucket = 0};
  BOOST_TEST(dies_saying("is a block of another size", [&] {
    Pool pool(no_lists);
    pool.deallocate(pool.allocate(100), 200);
  }));
  alignas(64) static std::array<std::byte, 512> elsewhere{};
  BOOST_TEST(dies_saying("is no block of this pool", [&] {
    Pool pool(no_lists);
    pool.deallocate(pool.allocate(100), 100);
    pool.deallocate(elsewhere.data(), 100);
  }));
  BOOST_TEST(dies_saying("is not the beginning of a block", [&] {
    Pool pool(no_lists);
    pool.deallocate(static_cast<std::byte*>(pool.allocate(100)) + 16, 100);
  }));
  BOOST_TEST(dies_saying("is no block in use", [&] {
    Pool pool(no_lists);
    pool.deallocate(static_cast<std::byte*>(pool.allocate(100)) + 5 * 112, 100);  // nobody had that one
  }));
  // In the middle of a large block, in whose pages nothing was before; or other blocks were.
  BOOST_TEST(dies_saying("is a block of another size", [&] {
    dirty_resource upstream;
    Pool pool(no_lists, &upstream);
    pool.deallocate(static_cast<std::byte*>(pool.allocate(300'000)) + 100'000, 100);
  }));
  BOOST_TEST(dies_saying("given back as one of 112 bytes, is ", [&] {
    Pool pool({.max_idle_blocks_per_bucket = 1});
    pool.deallocate(pool.allocate(600'000), 600'000);  // all of it lies here
    std::vector<std::byte*> blocks(4'000);
    for (std::byte*& block : blocks) block = static_cast<std::byte*>(pool.allocate(100));
    for (std::byte* block : blocks) pool.deallocate(block, 100);
    auto* const large = static_cast<std::byte*>(pool.allocate(300'000));
    std::memset(large, 1, 300'000);
    const auto lies_there = [&](std::byte* block) {
      return block > large + 100'000 && block < large + 200'000;
    };
    pool.deallocate(*std::find_if(blocks.begin(), blocks.end(), lies_there), 100);
  }));
  // Larger blocks at the call, whatever the options are.
  BOOST_TEST(dies_saying("is a block of another size", [] {
    Pool pool;
    pool.deallocate(pool.allocate(400'000), 600'000);
  }));
  BOOST_TEST(dies_saying("is no block of this pool", [] {
    Pool pool;
    pool.deallocate(pool.allocate(400'000), 400'000);
    pool.deallocate(elsewhere.data(), 400'000);
  }));
}

BOOST_AUTO_TEST_CASE(a_wrong_free_is_found_where_the_span_is_looked_up) {
  find_wrong_frees<unsynchronized_pool_resource>();
  find_wrong_frees<synchronized_pool_resource>();
}

BOOST_AUTO_TEST_CASE(pages_lie_between_pages_that_nobody_may_touch) {
  cistern::page_resource pages;
  for (const std::size_t alignment : {std::size_t{8}, std::size_t{1} << 16, std::size_t{1} << 21}) {
    auto* const block = static_cast<volatile char*>(pages.allocate(10'000, alignment));
    const auto touch = [&](std::ptrdiff_t at) { return ending_of([=] { block[at] = 1; }); };
    BOOST_TEST(touch(0) == "exited with 0");
    BOOST_TEST(touch(12'287) == "exited with 0");
    BOOST_TEST(touch(-1).starts_with("killed by signal 11"));
    BOOST_TEST(touch(12'288).starts_with("killed by signal 11"));
    pages.deallocate(const_cast<char*>(block), 10'000, alignment);
  }
}

// What is a free block of the upper pool is in use to the lower one, until the upper one gives it back.
template <class Upper, class Lower>
void stack_pools() {
  Lower lower;
  for (const std::size_t bytes : sizes) {
    Upper upper(&lower);
    std::vector<void*> blocks(20);
    for (void*& block : blocks) block = upper.allocate(bytes);
    for (void* block : blocks) upper.deallocate(block, bytes);
    upper.trim();
    upper.deallocate(upper.allocate(bytes), bytes);
  }
}

BOOST_AUTO_TEST_CASE(a_pool_over_a_pool_gives_back_what_it_had) {
  stack_pools<unsynchronized_pool_resource, unsynchronized_pool_resource>();
  stack_pools<unsynchronized_pool_resource, synchronized_pool_resource>();
  stack_pools<synchronized_pool_resource, unsynchronized_pool_resource>();
  stack_pools<synchronized_pool_resource, synchronized_pool_resource>();
}

// Here, as checked builds ask for the guard before they ask for the pool's own buckets.
template <class Pool>
void guard_small_requests() {
  Pool pool({.sample_guard = 1});
  pool.deallocate(pool.allocate(10), 10);
  BOOST_TEST(pool.statistics().guarded.sampled == 1U);
}

BOOST_AUTO_TEST_CASE(a_sampled_guard_gets_every_request) {
  guard_small_requests<unsynchronized_pool_resource>();
  guard_small_requests<synchronized_pool_resource>();
}

BOOST_AUTO_TEST_CASE(a_program_without_faults_goes_on) {
  unsynchronized_pool_resource unsynchronized;
  unsynchronized_pool_resource over_pages(cistern::pages());
  synchronized_pool_resource synchronized;
  for (unsigned seed = 1; seed <= 2; ++seed) {
    for (std::pmr::memory_resource* pool :
         std::initializer_list<std::pmr::memory_resource*>{&unsynchronized, &over_pages, &synchronized}) {
      live_on(*pool, seed);
    }
    std::thread([&] { live_on(synchronized, seed + 10); }).join();
    unsynchronized.trim();
    synchronized.trim();
  }
  unsynchronized.check_invariants();
  over_pages.check_invariants();
  synchronized.check_invariants();
  // The next pool may get the same memory, with whatever the last one left in it.
  for (int round = 0; round < 20; ++round) {
    unsynchronized_pool_resource next;
    std::vector<void*> blocks(200);
    for (void*& block : blocks) block = next.allocate(48 + static_cast<std::size_t>(round) * 8);
    for (void* block : blocks) next.deallocate(block, 48 + static_cast<std::size_t>(round) * 8);
  }
}
