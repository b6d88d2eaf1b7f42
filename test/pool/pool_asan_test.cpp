// Pools under AddressSanitizer (bitcoin#32581, botan#626): what users must not touch is reported, and no
// more.
#include <cistern/detail/base/asan.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <cstring>
#include <functional>
#include <memory_resource>
#include <string>
#include <tuple>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/pool_checks.hpp"

using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

namespace {

constexpr bool with_asan = cistern::detail::asan_build;

// Writes one byte where it may be forbidden.
[[maybe_unused]] void touch(void* block, std::size_t offset) {
  static_cast<volatile char*>(block)[offset] = 1;
}

// Whether ASan ends the action with this report; in other builds nothing can be said about it.
/// What lies in the pool is poisoned; what has gone back to upstream, or never was the pool's, is the heap's.
[[maybe_unused]] bool reported(const std::function<void()>& action) {
  const death seen = run_and_die(action);
  for (const char* const kind : {"use-after-poison", "heap-use-after-free", "heap-buffer-overflow"}) {
    if (seen.stderr_text.find(std::string("ERROR: AddressSanitizer: ") + kind) != std::string::npos)
      return true;
  }
  BOOST_TEST_MESSAGE("expected a report, but the child " << seen.description << ": " << seen.stderr_text);
  return false;
}

// Writes to all memory that comes back to it, as an allocator may.
class scribbling_resource : public std::pmr::memory_resource {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    std::memset(ptr, 0xdd, bytes);
    std::pmr::new_delete_resource()->deallocate(ptr, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
};

}  // namespace

// In every build: what is the user's, and what has gone back to upstream, may be touched.
BOOST_AUTO_TEST_CASE_TEMPLATE(nothing_allowed_is_reported, Pool, pools) {
  scribbling_resource upstream;
  for (const bool zero_on_free : {false, true}) {
    Pool pool(
        {.largest_required_pool_block = 100'000, .max_idle_bytes = 10'000, .zero_on_free = zero_on_free},
        &upstream);
    for (int round = 0; round < 3; ++round) {
      std::vector<cistern::sized_block> blocks;
      for (std::size_t bytes = 1; bytes < 200'000; bytes = bytes * 5 / 4 + 1) {
        void* const exact = pool.allocate(bytes);
        std::memset(exact, 1, bytes);
        pool.deallocate(exact, bytes);
        blocks.push_back(pool.allocate_at_least(bytes));
        std::memset(blocks.back().ptr, 2, blocks.back().bytes);
      }
      if (round == 1) pool.release();
      if (round != 1) {
        for (const auto& block : blocks) pool.deallocate(block.ptr, block.bytes);
      }
      (void)pool.trim();
    }
    pool.check_invariants();
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(what_its_user_has_poisoned_may_be_freed, Pool, pools) {
  Pool pool;
  for (const std::size_t bytes : {16U, 100U, 5'000U, 300'000U, 40'000'000U}) {
    for (int round = 0; round < 2; ++round) {
      void* const other = pool.allocate(bytes);
      void* const block = pool.allocate(bytes);
      std::memset(block, 1, bytes);
      cistern::detail::asan_poison(block, bytes);
      pool.deallocate(block, bytes);
      pool.deallocate(other, bytes);
    }
  }
  pool.check_invariants();
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(use_after_free_is_reported, Pool, pools) {
  if constexpr (with_asan) {
    for (const std::size_t bytes :
         {std::size_t{16}, std::size_t{100}, std::size_t{5000}, std::size_t{50'000}}) {
      for (const std::size_t offset : {std::size_t{0}, bytes / 2, bytes - 1}) {
        BOOST_TEST(reported([=] {
          Pool pool;
          void* const block = pool.allocate(bytes);
          pool.deallocate(block, bytes);
          touch(block, offset);
        }));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(overflow_into_the_slack_of_a_block_is_reported, Pool, pools) {
  if constexpr (with_asan) {
    for (const std::size_t bytes :
         {std::size_t{9}, std::size_t{65}, std::size_t{1025}, std::size_t{41'000}}) {
      BOOST_TEST(Pool::good_size(bytes) > bytes);
      BOOST_TEST(reported([=] {
        Pool pool;
        touch(pool.allocate(bytes), bytes);
      }));
      BOOST_TEST(reported([=] {  // Also when the block was larger in its last use.
        Pool pool;
        const cistern::sized_block whole = pool.allocate_at_least(bytes);
        pool.deallocate(whole.ptr, whole.bytes);
        touch(pool.allocate(bytes), bytes);
      }));
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(memory_never_handed_out_is_reported, Pool, pools) {
  if constexpr (with_asan) {
    BOOST_TEST(reported([] {
      Pool pool;
      touch(pool.allocate(64), 64);
    }));
    BOOST_TEST(reported([] {
      Pool pool;
      touch(pool.allocate(64), 1000);
    }));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(pass_through_shows_asan_every_block, Pool, pools) {
  if constexpr (with_asan) {
    BOOST_TEST(reported([] {
      Pool pool({.pass_through = true});
      void* const block = pool.allocate(100);
      pool.deallocate(block, 100);
      touch(block, 0);
    }));
    BOOST_TEST(reported([] {
      Pool pool({.pass_through = true});
      touch(pool.allocate(100), 100);
    }));
  }
}
