// What no bucket serves, by itself: oversize blocks and null mode. Plan: room is made once before a refusal;
// a refusal and what upstream throws change nothing; sizes beyond any object; zeros on free; find; release;
// statistics; threads.
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/pool/unpooled_blocks.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/threads.hpp"

using cistern::pool_options;
using cistern::pool_statistics;
using cistern::detail::unpooled_blocks;
using cistern::detail::upstream_account;
using cistern::test_support::run_threads;
using cistern::testing::checking_resource;

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

struct fixture {
  explicit fixture(const pool_options& asked = {}, std::pmr::memory_resource* over = nullptr)
      : options(asked), account(over != nullptr ? over : &upstream, options.max_bytes) {}
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;
  ~fixture() = default;

  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment = 16) {
    return blocks.allocate(bytes, alignment, [&] { return ++rooms_made > 0; });
  }
  [[nodiscard]] pool_statistics statistics() const {
    pool_statistics s;
    blocks.add_to(s);
    account.add_to(s);
    return s;
  }

  checking_resource upstream;
  pool_options options;
  upstream_account account;
  unpooled_blocks blocks{options, account};
  int rooms_made = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(room_is_made_once_before_a_refusal) {
  fixture f({.max_bytes = 2 * mib});
  void* const block = f.allocate(mib);
  BOOST_TEST(f.rooms_made == 0);
  try {
    (void)f.allocate(mib + 1);
    BOOST_ERROR("beyond the limit");
  } catch (const cistern::bad_allocation& refused) {
    BOOST_TEST(std::string(refused.what()).find(std::to_string(mib + 1)) != std::string::npos);
  }
  BOOST_TEST(f.rooms_made == 1);
  BOOST_TEST(f.statistics().oversize.live_blocks == 1U);
  // Where making room helps, nothing is refused.
  void* const second = f.blocks.allocate(mib + 1, 16, [&] {
    f.blocks.deallocate(block, mib, 16);
    return true;
  });
  f.blocks.deallocate(second, mib + 1, 16);
}

BOOST_AUTO_TEST_CASE(no_object_is_larger_than_ptrdiff_max) {
  for (const bool pass_through : {false, true}) {
    fixture f({.pass_through = pass_through});
    for (const std::size_t bytes : {std::size_t{PTRDIFF_MAX} + 1, SIZE_MAX - 8, SIZE_MAX}) {
      BOOST_CHECK_THROW((void)f.allocate(bytes), cistern::bad_allocation);
    }
    BOOST_TEST(f.upstream.allocations() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(a_failure_of_upstream_changes_nothing) {
  for (const bool pass_through : {false, true}) {
    checking_resource checked;
    cistern::testing::failing_resource failing(&checked);
    fixture f({.pass_through = pass_through}, &failing);
    const auto failures =
        cistern::testing::fail_every_allocation(failing,
                                                [&] {
                                                  try {
                                                    void* const block = f.allocate(mib);
                                                    f.blocks.deallocate(block, mib, 16);
                                                  } catch (...) {
                                                    BOOST_TEST(f.statistics().oversize.live_blocks == 0U);
                                                    BOOST_TEST(f.account.bytes() == 0U);
                                                    throw;
                                                  }
                                                },
                                                {.mode = cistern::testing::failure_mode::from_then_on});
    BOOST_TEST(failures.failed_runs > 0U);
  }
}

BOOST_AUTO_TEST_CASE(blocks_are_found_and_released) {
  for (const bool pass_through : {false, true}) {
    fixture f({.pass_through = pass_through});
    void* const block = f.allocate(mib, 8192);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(block) % 8192 == 0U);
    const auto found = f.blocks.find(block);
    BOOST_REQUIRE(found.has_value());
    BOOST_TEST(found->alignment == 8192U);
    int elsewhere = 0;
    BOOST_TEST(!f.blocks.find(&elsewhere).has_value());
    BOOST_TEST(f.statistics().in_use_bytes >= mib);
    f.blocks.release();
    BOOST_TEST(f.account.bytes() == 0U);
    BOOST_TEST(!f.blocks.find(block).has_value());
  }
}

BOOST_AUTO_TEST_CASE(accounts_agree_with_upstream) {
  fixture f;
  std::vector<void*> live;
  for (std::size_t i = 1; i < 20; ++i) live.push_back(f.allocate(i * 100'003));
  BOOST_TEST(cistern::test_support::accounts_fault(f.statistics(), f.upstream) == "");
  for (std::size_t i = 1; i < 20; ++i) f.blocks.deallocate(live[i - 1], i * 100'003, 16);
  BOOST_TEST(cistern::test_support::accounts_fault(f.statistics(), f.upstream) == "");
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(threads_share_it) {
  for (const bool pass_through : {false, true}) {
    fixture f({.pass_through = pass_through});
    run_threads(4, [&](std::size_t thread) {
      for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t bytes = 1000 * (thread + 1) + i;
        void* const block = f.allocate(bytes);
        std::memset(block, 1, bytes);
        f.blocks.deallocate(block, bytes, 16);
      }
    });
    BOOST_TEST(f.statistics().oversize.live_blocks == 0U);
    BOOST_TEST(f.statistics().oversize.allocations == 800U);
  }
}
