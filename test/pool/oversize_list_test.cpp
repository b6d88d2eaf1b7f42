// Blocks straight from upstream: as large and aligned as asked for, found and freed in any order, all given
// back on release, and nothing of it when upstream refuses.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/pool/oversize_list.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"

using cistern::no_limit;
using cistern::detail::oversize_list;
using cistern::detail::upstream_account;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

// A list over an upstream that aborts on a wrong size or alignment.
struct fixture {
  cistern::testing::checking_resource checked;
  cistern::testing::failing_resource upstream{&checked};
  upstream_account account{&upstream, no_limit};
  oversize_list list;

  ~fixture() { list.release(account); }

  user_block get(std::size_t bytes, std::size_t alignment) {
    user_block block{list.try_allocate(bytes, alignment, account), bytes, alignment};
    BOOST_REQUIRE(block.ptr != nullptr);
    BOOST_TEST(block.aligned());
    cistern::detail::asan_unpoison(block.ptr, oversize_list::granted_bytes(bytes));
    block.seed = static_cast<unsigned char>(1 + list.statistics().allocations % 127);
    fill(block, oversize_list::granted_bytes(bytes));
    return block;
  }
  void give_back(const user_block& block) {
    BOOST_TEST(filled(block, oversize_list::granted_bytes(block.bytes)));
    list.deallocate(block.ptr, block.bytes, block.alignment, account);
  }
  void check(std::size_t live_blocks, std::size_t live_bytes) const {
    BOOST_TEST(list.statistics().live_blocks == live_blocks);
    BOOST_TEST(list.statistics().live_bytes == live_bytes);
    BOOST_TEST(checked.outstanding_blocks() == live_blocks);
    BOOST_TEST(checked.outstanding_bytes() == live_bytes + list.overhead_bytes());
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_block_is_granted_whole_sixteens) {
  BOOST_TEST(oversize_list::granted_bytes(1) == 16U);
  BOOST_TEST(oversize_list::granted_bytes(16) == 16U);
  BOOST_TEST(oversize_list::granted_bytes(17) == 32U);
  BOOST_TEST(oversize_list::granted_bytes(PTRDIFF_MAX) == std::size_t{PTRDIFF_MAX} + 1);
}

BOOST_AUTO_TEST_CASE(any_size_and_alignment) {
  fixture f;
  std::vector<user_block> live;
  std::size_t live_bytes = 0;
  for (std::size_t alignment = 1; alignment <= 64 * 1024; alignment *= 2) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{33}, std::size_t{70'000}}) {
      live.push_back(f.get(bytes, alignment));
      live_bytes += oversize_list::granted_bytes(bytes);
      f.check(live.size(), live_bytes);
    }
  }
  for (const user_block& block : live) f.give_back(block);
  f.check(0, 0);
  BOOST_TEST(f.list.overhead_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(the_granted_size_frees_as_well) {
  fixture f;
  const user_block block = f.get(100, 8);
  f.list.deallocate(block.ptr, oversize_list::granted_bytes(100), 8, f.account);
  f.check(0, 0);
}

BOOST_AUTO_TEST_CASE(blocks_go_in_any_order) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      fixture f;
      std::vector<user_block> live;
      for (std::size_t bytes = 10; bytes < 30; ++bytes) live.push_back(f.get(bytes * 16, 16));
      std::shuffle(live.begin(), live.end(), random);
      std::size_t live_bytes = f.list.statistics().live_bytes;
      while (!live.empty()) {
        f.give_back(live.back());
        live_bytes -= live.back().bytes;
        live.pop_back();
        f.check(live.size(), live_bytes);
        for (const user_block& block : live) BOOST_TEST(f.list.find(block.ptr).has_value());
      }
      BOOST_TEST(f.list.statistics().allocations == 20U);
      BOOST_TEST(f.list.statistics().deallocations == 20U);
    }
  }
}

BOOST_AUTO_TEST_CASE(it_finds_its_blocks_and_no_others) {
  fixture f;
  const user_block first = f.get(1000, 8);
  const user_block second = f.get(50, 4096);
  const auto found = f.list.find(second.ptr);
  BOOST_REQUIRE(found.has_value());
  BOOST_TEST(found->bytes == oversize_list::granted_bytes(50));
  BOOST_TEST(found->alignment == 4096U);
  BOOST_TEST(!f.list.find(first.data() + 16).has_value());
  BOOST_TEST(!f.list.find(&f).has_value());
  f.list.deallocate(second.ptr, found->bytes, found->alignment, f.account);
  BOOST_TEST(!f.list.find(second.ptr).has_value());
  BOOST_TEST(f.list.find(first.ptr).has_value());
}

BOOST_AUTO_TEST_CASE(release_gives_back_all_and_the_list_goes_on) {
  fixture f;
  f.list.release(f.account);  // nothing
  for (std::size_t alignment = 1; alignment <= 8192; alignment *= 8) (void)f.get(300, alignment);
  f.list.release(f.account);
  f.check(0, 0);
  BOOST_TEST(f.list.statistics().allocations == 5U);
  BOOST_TEST(f.list.statistics().deallocations == 0U);  // nobody freed them
  f.give_back(f.get(300, 8));
  f.check(0, 0);
}

BOOST_AUTO_TEST_CASE(a_refusal_changes_nothing) {
  fixture f;
  const user_block kept = f.get(100, 8);
  const auto before = f.list.statistics();
  f.upstream.fail_nth(1);
  BOOST_CHECK_THROW((void)f.list.try_allocate(100, 8, f.account), std::bad_alloc);
  BOOST_CHECK_THROW((void)f.list.try_allocate(PTRDIFF_MAX, 8, f.account), std::bad_alloc);
  BOOST_TEST((f.list.statistics() == before));

  upstream_account limited(&f.upstream, 100);
  oversize_list other;
  BOOST_TEST(other.try_allocate(100, 8, limited) == nullptr);  // no room for the record
  BOOST_TEST((other.statistics() == cistern::oversize_statistics{}));
  BOOST_TEST(other.overhead_bytes() == 0U);
  void* const small = other.try_allocate(50, 8, limited);
  BOOST_TEST(small != nullptr);
  other.deallocate(small, 50, 8, limited);
  f.give_back(kept);
}
