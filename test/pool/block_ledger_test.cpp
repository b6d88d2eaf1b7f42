// block_ledger: in a checked build a pool tells a free that can't be right, whatever is wrong about it, from
// one that is. Plan: each kind of misuse, of blocks of every kind, over both pools; what is right, and nearly
// wrong; a system that refuses the ledger its memory.
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/pool/block_ledger.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory_resource>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/address_space.hpp"
#include "../support/death.hpp"
#include "../support/forking.hpp"
#include "../support/pool_checks.hpp"

using cistern::detail::asan_build;
using cistern::detail::checked_build;
using cistern::test_support::death;
using cistern::test_support::run_and_die;

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;
constexpr cistern::pool_options small_buckets{.largest_required_pool_block = 1 * mib};
/// In lists, of pages, and of no bucket; each has a neighbour of its size that a doubling or a half doesn't
/// meet.
constexpr std::size_t kinds_of_blocks[] = {40, 3'000, 200'000, 2 * mib};

/// Whether the action ends the process after these words. Under a memory checker that one ends it.
bool found_saying(const std::string& words, const std::function<void()>& action) {
  const death seen = run_and_die(action);
  const bool found = seen.description != "exited with 0" && seen.stderr_text.find(words) != std::string::npos;
  if (!found) BOOST_TEST_MESSAGE("the child " << seen.description << ", saying: " << seen.stderr_text);
  return found;
}

std::byte* some(std::pmr::memory_resource& pool, std::size_t bytes) {
  return static_cast<std::byte*>(pool.allocate(bytes, 8));
}

template <class Pool>
constexpr const char* name_of = "unsynchronized_pool_resource at ";
template <>
constexpr const char* name_of<cistern::synchronized_pool_resource> = "(synchronized_pool_resource at ";

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(a_second_free_is_found, Pool, pools) {
  if constexpr (checked_build) {
    for (const std::size_t bytes : kinds_of_blocks) {
      const std::string words = "given back as " + std::to_string(bytes) + " bytes aligned to 8, is free";
      BOOST_TEST(found_saying(words, [=] {
        Pool pool(small_buckets);
        std::byte* const block = some(pool, bytes);
        pool.deallocate(block, bytes, 8);
        pool.deallocate(block, bytes, 8);
      }));
      BOOST_TEST(found_saying(words, [=] {  // long after, and where nothing is in use any more
        Pool pool(small_buckets);
        std::vector<std::byte*> others;
        std::byte* const block = some(pool, bytes);
        for (int i = 0; i < 100; ++i) others.push_back(some(pool, bytes));
        pool.deallocate(block, bytes, 8);
        for (std::byte* other : others) pool.deallocate(other, bytes, 8);
        (void)pool.trim();
        pool.deallocate(block, bytes, 8);
      }));
      BOOST_TEST(found_saying(name_of<Pool>, [=] {
        Pool pool(small_buckets);
        std::byte* const block = some(pool, bytes);
        pool.release();
        pool.deallocate(block, bytes, 8);
      }));
    }
  }
}

// What is known of a block lies beside its chunk: whatever its user writes there, before the free and after
// it. (AddressSanitizer stops who writes to a freed block; what was in no bucket isn't the pool's any more.)
BOOST_AUTO_TEST_CASE_TEMPLATE(a_second_free_of_what_was_overwritten_is_found, Pool, pools) {
  if constexpr (checked_build && !asan_build) {
    for (const std::size_t bytes :
         {std::size_t{16}, std::size_t{40}, std::size_t{3'000}, std::size_t{200'000}}) {
      for (const int pattern : {0x00, 0x41, 0xff}) {
        const std::string words = "given back as " + std::to_string(bytes) + " bytes aligned to 8, is free";
        BOOST_TEST(found_saying(words, [=] {
          Pool pool(small_buckets);
          std::byte* const neighbour = some(pool, bytes);
          std::byte* const block = some(pool, bytes);
          std::memset(block, pattern, bytes);
          pool.deallocate(block, bytes, 8);
          pool.deallocate(neighbour, bytes, 8);
          std::memset(block, pattern, bytes);
          pool.deallocate(block, bytes, 8);
        }));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(what_is_no_beginning_of_a_block_is_found, Pool, pools) {
  if constexpr (checked_build) {
    for (const std::size_t bytes : kinds_of_blocks) {
      for (const std::size_t offset : {std::size_t{1}, std::size_t{8}, std::size_t{16}, bytes - 8}) {
        BOOST_TEST(found_saying("lies " + std::to_string(offset) + " bytes inside the ", [=] {
          Pool pool(small_buckets);
          pool.deallocate(some(pool, bytes) + offset, bytes, 8);
        }));
      }
      BOOST_TEST(found_saying("is null", [=] {
        Pool pool(small_buckets);
        (void)some(pool, bytes);
        pool.deallocate(nullptr, bytes, 8);
      }));
      BOOST_TEST(found_saying("is no block of this pool", [=] {
        Pool pool(small_buckets);
        (void)some(pool, bytes);
        static std::array<std::byte, 64> memory;
        pool.deallocate(memory.data(), bytes, 8);
      }));
      BOOST_TEST(found_saying("is no block of this pool", [=] {
        Pool pool(small_buckets);
        Pool other(small_buckets);
        (void)some(pool, bytes);
        pool.deallocate(some(other, bytes), bytes, 8);
      }));
      BOOST_TEST(found_saying(name_of<Pool>, [=] {  // a block of its upstream
        Pool upstream(small_buckets);
        Pool pool(small_buckets, &upstream);
        upstream.deallocate(some(pool, bytes), bytes, 8);
      }));
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(another_size_or_alignment_is_found, Pool, pools) {
  if constexpr (checked_build) {
    const auto given_back_as = [](std::size_t bytes, std::size_t as_bytes, std::size_t as_alignment) {
      return [=] {
        Pool pool(small_buckets);
        std::byte* const block = some(pool, bytes);
        (void)some(pool, as_bytes);
        (void)some(pool, bytes);
        pool.deallocate(block, as_bytes, as_alignment);
      };
    };
    BOOST_TEST(
        found_saying("is a block of 40 bytes, and such a size has one of 80", given_back_as(40, 80, 8)));
    BOOST_TEST(
        found_saying("is a block of 40 bytes, and such a size has one of 24", given_back_as(40, 20, 8)));
    BOOST_TEST(
        found_saying("is a block of 40 bytes, and such a size has one of 64", given_back_as(40, 40, 64)));
    BOOST_TEST(found_saying("is a block of 3072 bytes", given_back_as(3'000, 6'000, 8)));
    BOOST_TEST(found_saying("is a block of 3072 bytes", given_back_as(3'000, 1'500, 8)));
    BOOST_TEST(found_saying("is a block of 229376 bytes", given_back_as(200'000, 400'000, 8)));
    BOOST_TEST(found_saying("is a block of 229376 bytes", given_back_as(200'000, 100'000, 8)));
    BOOST_TEST(found_saying("is a block of 229376 bytes, and no bucket", given_back_as(200'000, 2 * mib, 8)));
    const std::string oversize = "is an oversize block of 2097152 bytes aligned to 8";
    BOOST_TEST(found_saying(oversize, given_back_as(2 * mib, 4 * mib, 8)));
    BOOST_TEST(found_saying(oversize, given_back_as(2 * mib, 2 * mib - 16, 8)));
    BOOST_TEST(found_saying(oversize, given_back_as(2 * mib, 2 * mib, 64)));
    BOOST_TEST(found_saying(oversize, given_back_as(2 * mib, 40, 8)));
  }
}

BOOST_AUTO_TEST_CASE(a_size_that_ends_where_another_oversize_block_does_is_found) {
  if constexpr (checked_build) {
    BOOST_TEST(found_saying("is an oversize block of 64 bytes", [] {
      alignas(64) static std::array<std::byte, 8192> memory;
      std::pmr::monotonic_buffer_resource upstream(memory.data(), memory.size());
      cistern::unsynchronized_pool_resource pool({.largest_required_pool_block = 16}, &upstream);
      std::byte* const first = some(pool, 64);
      std::byte* const second = some(pool, 64);
      pool.deallocate(first, static_cast<std::size_t>(second - first) + 64, 8);
    }));
  }
}

// It may lie in the middle of the next block there.
BOOST_AUTO_TEST_CASE(the_end_of_an_oversize_block_is_forgotten_when_it_goes) {
  if constexpr (checked_build) {
    BOOST_TEST(found_saying("lies 1000 bytes inside the oversize block", [] {
      alignas(64) static std::array<std::byte, 8192> memory;
      std::pmr::monotonic_buffer_resource upstream(memory.data(), memory.size());
      cistern::unsynchronized_pool_resource pool({.largest_required_pool_block = 16}, &upstream);
      pool.deallocate(some(pool, 64), 64, 8);
      upstream.release();  // what comes next begins where that began
      pool.deallocate(some(pool, 4096) + 1000, 64, 8);
    }));
  }
}

// A memory checker looks after what lies beyond the bytes asked for by itself.
BOOST_AUTO_TEST_CASE_TEMPLATE(what_is_written_beyond_the_end_is_found, Pool, pools) {
  if constexpr (checked_build && !asan_build) {
    for (const std::size_t bytes : {std::size_t{70}, std::size_t{3'000}, std::size_t{200'000}}) {
      for (const std::size_t offset : {std::size_t{0}, Pool::good_size(bytes) - bytes - 1}) {
        BOOST_TEST(found_saying("was written to beyond its end", [=] {
          Pool pool;
          std::byte* const block = some(pool, bytes);
          block[bytes + offset] = std::byte{1};
          pool.deallocate(block, bytes, 8);
        }));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_write_to_a_free_block_is_found_when_it_is_taken, Pool, pools) {
  if constexpr (checked_build && !asan_build) {
    for (const std::size_t bytes : {std::size_t{40}, std::size_t{3'000}}) {
      BOOST_TEST(found_saying("a free block was written to", [=] {
        Pool pool;
        std::byte* const block = some(pool, bytes);
        pool.deallocate(block, bytes, 8);
        std::memset(block, 0x41, 16);
        for (int i = 0; i < 100; ++i) (void)some(pool, bytes);
      }));
    }
  }
}

// ---- what is right ----

BOOST_AUTO_TEST_CASE_TEMPLATE(what_was_granted_may_be_used_and_given_back, Pool, pools) {
  for (const std::size_t largest_bytes : {std::size_t{16}, std::size_t{100}, mib / 8}) {
    for (const bool zero_on_free : {false, true}) {
      Pool pool({.largest_required_pool_block = largest_bytes, .zero_on_free = zero_on_free});
      for (int round = 0; round < 3; ++round) {
        for (std::size_t bytes = 0; bytes < mib / 3; bytes = bytes * 3 / 2 + 1) {
          for (const std::size_t alignment :
               {std::size_t{1}, std::size_t{8}, std::size_t{64}, std::size_t{8192}}) {
            const cistern::sized_block first = pool.allocate_at_least(bytes, alignment);
            const cistern::sized_block second = pool.allocate_at_least(bytes, alignment);
            void* const third = pool.allocate(bytes, alignment);
            std::memset(first.ptr, 1, first.bytes);
            std::memset(second.ptr, 2, second.bytes);
            if (bytes != 0) std::memset(third, 3, bytes);
            pool.deallocate(first.ptr, bytes, alignment);
            pool.deallocate(second.ptr, second.bytes, alignment);
            pool.deallocate(third, bytes, alignment);
          }
        }
        (void)pool.allocate(100);
        (void)pool.allocate(3 * mib);
        round == 0 ? pool.release() : static_cast<void>(pool.trim());
      }
      pool.check_invariants();
      pool.release();
      BOOST_TEST(pool.statistics().in_use_bytes == 0U);
    }
  }
}

BOOST_AUTO_TEST_CASE(blocks_of_another_thread_and_of_before_a_fork_may_be_given_back) {
  cistern::synchronized_pool_resource pool(small_buckets);
  std::vector<std::byte*> blocks;
  const auto give_all_back = [&] {
    for (std::size_t i = 0; i < blocks.size(); ++i) pool.deallocate(blocks[i], kinds_of_blocks[i % 4], 8);
    blocks.clear();
  };
  const auto take_some = [&] {
    for (std::size_t i = 0; i < 400; ++i) blocks.push_back(some(pool, kinds_of_blocks[i % 4]));
  };
  std::thread(take_some).join();
  give_all_back();
  take_some();
  BOOST_TEST(cistern::test_support::fork_fault(give_all_back) == "");
  std::thread(give_all_back).join();
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}

// Sanitizers need the address space themselves.
BOOST_AUTO_TEST_CASE_TEMPLATE(without_memory_for_the_ledger_nothing_is_said, Pool, pools) {
  static constexpr std::size_t arena_bytes = 8 * mib;
  static std::array<std::byte, arena_bytes> arena;
  BOOST_TEST(cistern::test_support::fork_fault([] {
               std::pmr::monotonic_buffer_resource upstream(arena.data(), arena.size(),
                                                            std::pmr::null_memory_resource());
               Pool pool(small_buckets, &upstream);
               std::array<std::byte*, 4> blocks{};
               std::array<std::byte*, 4> more{};
               for (std::size_t i = 0; i < 2; ++i) blocks[i] = some(pool, kinds_of_blocks[i]);
               if constexpr (!cistern::test_support::sanitized) cistern::test_support::leave_address_space(0);
               for (std::size_t i = 2; i < blocks.size(); ++i) blocks[i] = some(pool, kinds_of_blocks[i]);
               for (std::size_t i = 0; i < blocks.size(); ++i) more[i] = some(pool, kinds_of_blocks[i]);
               for (std::size_t i = 0; i < blocks.size(); ++i) {
                 pool.deallocate(blocks[i], kinds_of_blocks[i], 8);
                 pool.deallocate(more[i], kinds_of_blocks[i], 8);
               }
               pool.check_invariants();
             }) == "");
}

// In a build without checks a ledger works all the same, for whoever has one.
BOOST_AUTO_TEST_CASE(a_block_that_is_handed_out_twice_is_found) {
  static constexpr cistern::pool_options options{.largest_required_pool_block = 1 * mib};
  alignas(64) static std::array<std::byte, 64> memory;
  BOOST_TEST(found_saying("is in use, and about to be handed out again", [] {
    cistern::detail::upstream_account account(std::pmr::null_memory_resource(), SIZE_MAX);
    const cistern::detail::unpooled_blocks unpooled(options, account);
    cistern::detail::block_ledger ledger("ledger", &memory, options, unpooled);
    ledger.hand_out(memory.data(), 64, 8);
    if (!ledger.take_back(memory.data(), 64, 8)) return;
    ledger.hand_out(memory.data(), 64, 8);
    ledger.hand_out(memory.data(), 64, 8);
  }));
}
