// cistern::byte_lease against each row of gomempool's Allocator.
#include <cistern/byte_lease.hpp>
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

using cistern::byte_lease;
using cistern::bytes_already_allocated;
using cistern::bytes_not_allocated;
using cistern::pool_options;
using cistern::unsynchronized_pool_resource;
using cistern::testing::checking_resource;

namespace {

/// The same misuse gives the same exceptions in the same places, whatever the resource.
void check_the_rules(std::pmr::memory_resource* resource) {
  byte_lease lease(resource);
  BOOST_TEST(!lease.holds_bytes());
  BOOST_TEST(lease.size() == 0U);
  BOOST_TEST(lease.capacity() == 0U);
  BOOST_CHECK_THROW((void)lease.bytes(), bytes_not_allocated);
  BOOST_CHECK_THROW(lease.give_back(), bytes_not_allocated);

  const auto bytes = lease.allocate(100);
  BOOST_TEST(bytes.size() == 100U);
  BOOST_TEST(lease.size() == 100U);
  BOOST_TEST(lease.capacity() == cistern::detail::good_size(100));
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(std::max_align_t) == 0U);
  std::ranges::fill(bytes, std::byte{7});
  BOOST_CHECK_THROW(lease.allocate(5), bytes_already_allocated);
  BOOST_TEST((lease.bytes().data() == bytes.data()));  // nothing changed
  BOOST_TEST(lease.bytes().size() == 100U);
  BOOST_TEST((lease.bytes()[99] == std::byte{7}));

  lease.give_back();
  BOOST_TEST(!lease.holds_bytes());
  BOOST_CHECK_THROW(lease.give_back(), bytes_not_allocated);
  BOOST_CHECK_THROW((void)lease.bytes(), bytes_not_allocated);

  lease.allocate(3);  // used again
  BOOST_TEST(lease.bytes().size() == 3U);
  lease.give_back();
  lease.allocate(0);  // held like any other number
  BOOST_TEST(lease.holds_bytes());
  BOOST_TEST(lease.bytes().empty());
  BOOST_CHECK_THROW(lease.allocate(0), bytes_already_allocated);
  BOOST_CHECK_THROW(byte_lease(resource, SIZE_MAX), std::bad_alloc);
}  // the destructor gives back what is held

}  // namespace

BOOST_AUTO_TEST_CASE(the_rules_on_a_checking_resource) {
  checking_resource memory;
  check_the_rules(&memory);
  BOOST_TEST(memory.outstanding_blocks() == 0U);
}

BOOST_AUTO_TEST_CASE(the_rules_on_null) {
  check_the_rules(nullptr);
}

BOOST_AUTO_TEST_CASE(the_rules_on_a_pool) {
  checking_resource memory;
  unsynchronized_pool_resource pool(&memory);
  check_the_rules(&pool);
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}

BOOST_AUTO_TEST_CASE(the_rules_on_a_synchronized_pool) {
  checking_resource memory;
  cistern::synchronized_pool_resource pool(&memory);
  check_the_rules(&pool);
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}

BOOST_AUTO_TEST_CASE(both_errors_are_logic_errors_that_say_what_is_wrong) {
  static_assert(std::is_base_of_v<std::logic_error, bytes_already_allocated>);
  static_assert(std::is_base_of_v<std::logic_error, bytes_not_allocated>);
  BOOST_TEST(std::string(bytes_already_allocated().what()).find("already") != std::string::npos);
  BOOST_TEST(std::string(bytes_not_allocated().what()).find("no bytes") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_lease_holds_nothing_until_asked) {
  checking_resource memory;
  const byte_lease lease(&memory);
  BOOST_TEST(memory.allocations() == 0U);
  BOOST_TEST(lease.resource() == &memory);
  BOOST_TEST(byte_lease(nullptr).resource() == std::pmr::new_delete_resource());
}

BOOST_AUTO_TEST_CASE(construction_with_bytes) {
  checking_resource memory;
  const byte_lease lease(&memory, 33);
  BOOST_TEST(lease.bytes().size() == 33U);
  BOOST_TEST(memory.outstanding_blocks() == 1U);
}

BOOST_AUTO_TEST_CASE(a_lease_moves_and_does_not_copy) {
  static_assert(!std::is_copy_constructible_v<byte_lease> && !std::is_copy_assignable_v<byte_lease>);
  static_assert(std::is_nothrow_move_constructible_v<byte_lease>);
  static_assert(std::is_nothrow_move_assignable_v<byte_lease>);
  checking_resource memory;
  checking_resource other;
  byte_lease first(&memory, 10);
  const auto bytes = first.bytes();
  byte_lease second(std::move(first));
  BOOST_TEST((second.bytes().data() == bytes.data()));
  BOOST_CHECK_THROW((void)first.bytes(), bytes_not_allocated);  // NOLINT(bugprone-use-after-move): promised
  first.allocate(5);                                            // and can be used again
  byte_lease third(&other, 20);
  third = std::move(second);  // gives its own back first, and goes on with the other resource
  BOOST_TEST(other.outstanding_blocks() == 0U);
  BOOST_TEST(third.resource() == &memory);
  BOOST_TEST((third.bytes().data() == bytes.data()));
  byte_lease& same = third;
  third = std::move(same);
  BOOST_TEST((third.bytes().data() == bytes.data()));
}

BOOST_AUTO_TEST_CASE(a_failed_allocation_changes_nothing) {
  checking_resource memory;
  cistern::testing::failing_resource failing(&memory);
  byte_lease lease(&failing);
  cistern::testing::fail_every_allocation(
      failing, [&] { lease.allocate(50); }, [&](std::uint64_t) { BOOST_TEST(!lease.holds_bytes()); });
  BOOST_TEST(lease.bytes().size() == 50U);
}

// --- the rows about the pool behind it ---

BOOST_AUTO_TEST_CASE(absurd_options_are_refused_with_field_and_value) {
  const std::size_t absurd = std::size_t{1} << 40;
  try {
    const unsynchronized_pool_resource pool(pool_options{.largest_required_pool_block = absurd});
    BOOST_ERROR("accepted");
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what();
    BOOST_TEST(text.find("largest_required_pool_block") != std::string::npos);
    BOOST_TEST(text.find(std::to_string(absurd)) != std::string::npos);
  }
  // Sizes above 2^39 that are allowed index nothing out of range.
  unsynchronized_pool_resource pool(pool_options{.largest_required_pool_block = absurd - 1});
  BOOST_TEST(byte_lease(&pool, 100).bytes().size() == 100U);
}

BOOST_AUTO_TEST_CASE(larger_than_the_pool_serves_goes_upstream_and_is_counted) {
  checking_resource memory;
  unsynchronized_pool_resource pool(pool_options{.largest_required_pool_block = 1024}, &memory);
  {
    const byte_lease lease(&pool, 100'000);
    BOOST_TEST(pool.statistics().oversize.live_blocks == 1U);
    BOOST_TEST(pool.statistics().oversize.allocations == 1U);
  }
  BOOST_TEST(pool.statistics().oversize.live_blocks == 0U);
  BOOST_TEST(pool.statistics().oversize.deallocations == 1U);
  const byte_lease at_the_bound(&pool, 1024);
  BOOST_TEST(pool.statistics().oversize.allocations == 1U);
}

BOOST_AUTO_TEST_CASE(the_pool_counts_hits_misses_returns_and_depth) {
  checking_resource memory;
  unsynchronized_pool_resource pool(&memory);
  for (int i = 0; i < 3; ++i) byte_lease(&pool, 100);
  const auto statistics = pool.statistics();
  BOOST_REQUIRE(statistics.buckets.size() == 1U);
  const auto& bucket = statistics.buckets.front();
  BOOST_TEST(bucket.block_bytes == cistern::detail::good_size(100));
  BOOST_TEST(bucket.misses == 1U);
  BOOST_TEST(bucket.hits == 2U);
  BOOST_TEST(bucket.returned == 3U);
  BOOST_TEST(bucket.discarded == 0U);
  BOOST_TEST(bucket.depth == 4U);  // a miss takes a batch
  BOOST_TEST(bucket.live_blocks == 0U);
}

BOOST_AUTO_TEST_CASE(a_pool_told_to_keep_no_idle_block_keeps_none) {
  checking_resource memory;
  unsynchronized_pool_resource pool(pool_options{.max_idle_blocks_per_bucket = 0}, &memory);
  const std::size_t large = std::size_t{1} << 20;  // comes singly from upstream
  byte_lease(&pool, large).give_back();
  byte_lease(&pool, 100).give_back();  // in a chunk, which is given back as a whole
  BOOST_TEST(pool.statistics().idle_bytes == 0U);
  for (const auto& bucket : pool.statistics().buckets) BOOST_TEST(bucket.depth == 0U);
}

BOOST_AUTO_TEST_CASE(blocks_come_back_dirty_unless_told_otherwise) {
  constexpr std::size_t bytes = 4'000;
  constexpr std::size_t link_bytes = 16;  // the list's own; encoded by a random key in some builds
  unsynchronized_pool_resource dirty;
  unsynchronized_pool_resource clean(pool_options{.zero_on_free = true});
  for (auto* pool : {&dirty, &clean}) {
    byte_lease lease(pool, bytes);
    std::ranges::fill(lease.bytes(), std::byte{0xAA});
    lease.give_back();
    lease.allocate(bytes);
    const auto secret = std::ranges::count(lease.bytes().subspan(link_bytes), std::byte{0xAA});
    BOOST_TEST(static_cast<std::size_t>(secret) == (pool == &dirty ? bytes - link_bytes : 0U));
  }
}

BOOST_AUTO_TEST_CASE(asan_reports_use_outside_the_loan) {
  if constexpr (cistern::detail::asan_build) {
    using cistern::test_support::run_and_die;
    unsynchronized_pool_resource pool;
    for (std::pmr::memory_resource* resource :
         {std::pmr::new_delete_resource(), static_cast<std::pmr::memory_resource*>(&pool)}) {
      const auto after_give_back = run_and_die([&] {
        byte_lease lease(resource);
        volatile std::byte* const bytes = lease.allocate(100).data();
        lease.give_back();
        bytes[50] = std::byte{1};
      });
      BOOST_TEST(after_give_back.stderr_text.find("AddressSanitizer") != std::string::npos);
      const auto behind = run_and_die([&] {
        byte_lease lease(resource, 101);  // the block has more
        const_cast<volatile std::byte*>(lease.bytes().data())[101] = std::byte{1};
      });
      BOOST_TEST(behind.stderr_text.find("AddressSanitizer") != std::string::npos);
    }
  }
}
