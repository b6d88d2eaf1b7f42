// unsynchronized_pool_resource: its contract, line by line, over a checking upstream.
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/pool/span.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <memory_resource>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/pool_checks.hpp"
#include "../support/regions.hpp"

using cistern::no_limit;
using cistern::pool_options;
using cistern::unsynchronized_pool_resource;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;
constexpr std::size_t page = cistern::detail::page_bytes;
/// What a block, or a chunk of few, that comes singly costs beyond its size, which is rounded up to 64.
constexpr std::size_t record_bytes = sizeof(cistern::detail::heap_region) + sizeof(cistern::detail::span);
/// The largest region that the pool asks for on its own account, records left out.
constexpr std::size_t largest_region_bytes = 4 * mib;

// A pool over a checking upstream; at the end everything must be back.
struct fixture {
  explicit fixture(const pool_options& options = {}) : pool(options, &upstream) {}

  [[nodiscard]] std::string fault() const { return fault_in(pool, upstream); }
  [[nodiscard]] std::size_t idle_bytes() const { return pool.statistics().idle_bytes; }

  checking_resource upstream;
  unsynchronized_pool_resource pool;
};

// Idle memory follows its bound in steps, while the pool is used: so long that everything is done.
void go_on(unsynchronized_pool_resource& pool) {
  for (int i = 0; i < 100'000; ++i) pool.deallocate(pool.allocate(100), 100);
}

// What may be idle then, when nothing else is in use: the bound, an eighth, what a class in use keeps, and
// the region that it lies in.
constexpr std::size_t most_idle_bytes(std::size_t max_idle_bytes) {
  return max_idle_bytes + max_idle_bytes / 8 + 64 * kib + largest_region_bytes;
}

// An upstream that notes what it is asked for, in order.
class noting_resource : public std::pmr::memory_resource {
 public:
  std::vector<std::size_t> asked_bytes;
  /// Called with each block that is given back.
  std::function<void(const std::byte*, std::size_t)> on_free = [](const std::byte*, std::size_t) {};

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    asked_bytes.push_back(bytes);
    void* const block = upstream_.allocate(bytes, alignment);
    std::memset(block, 0, bytes);  // nothing of what memory held before it came here
    return block;
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    on_free(static_cast<const std::byte*>(ptr), bytes);
    upstream_.deallocate(ptr, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  checking_resource upstream_;
};

std::string refusal(const pool_options& options) {
  try {
    const unsynchronized_pool_resource pool(options);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing refused";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(construction)

BOOST_AUTO_TEST_CASE(every_constructor_of_the_standard_is_there) {
  checking_resource upstream;
  const std::pmr::pool_options standard{.max_blocks_per_chunk = 7, .largest_required_pool_block = 1000};

  const unsynchronized_pool_resource by_default;
  BOOST_TEST(by_default.upstream_resource() == std::pmr::get_default_resource());
  const unsynchronized_pool_resource over_upstream(&upstream);
  BOOST_TEST(over_upstream.upstream_resource() == &upstream);
  const unsynchronized_pool_resource with_options(standard);
  BOOST_TEST(with_options.upstream_resource() == std::pmr::get_default_resource());
  BOOST_TEST(with_options.options().max_blocks_per_chunk == 7U);
  const unsynchronized_pool_resource with_both(standard, &upstream);
  BOOST_TEST(with_both.upstream_resource() == &upstream);
  BOOST_TEST(with_both.options().largest_required_pool_block == 1024U);
  const unsynchronized_pool_resource with_braces({.max_bytes = mib}, &upstream);
  BOOST_TEST(with_braces.options().max_bytes == mib);
  const unsynchronized_pool_resource with_own_options(pool_options{.zero_on_free = true});
  BOOST_TEST(with_own_options.options().zero_on_free);

  static_assert(!std::is_copy_constructible_v<unsynchronized_pool_resource>);
  static_assert(!std::is_copy_assignable_v<unsynchronized_pool_resource>);
  static_assert(!std::is_move_constructible_v<unsynchronized_pool_resource>);
  static_assert(!std::is_convertible_v<std::pmr::memory_resource*, unsynchronized_pool_resource>);
  static_assert(std::is_base_of_v<std::pmr::memory_resource, unsynchronized_pool_resource>);
}

BOOST_AUTO_TEST_CASE(the_default_resource_is_read_at_construction) {
  checking_resource upstream;
  std::pmr::memory_resource* const before = std::pmr::set_default_resource(&upstream);
  const unsynchronized_pool_resource pool;
  std::pmr::set_default_resource(before);
  BOOST_TEST(pool.upstream_resource() == &upstream);
}

BOOST_AUTO_TEST_CASE(null_means_new_delete) {
  unsynchronized_pool_resource pool(static_cast<std::pmr::memory_resource*>(nullptr));
  BOOST_TEST(pool.upstream_resource() == std::pmr::new_delete_resource());
  pool.deallocate(pool.allocate(100), 100);
  const unsynchronized_pool_resource with_options(pool_options{}, nullptr);
  BOOST_TEST(with_options.upstream_resource() == std::pmr::new_delete_resource());
}

BOOST_AUTO_TEST_CASE(nothing_is_asked_from_upstream_at_construction) {
  const fixture f;
  BOOST_TEST(f.upstream.allocations() == 0U);
  const cistern::pool_statistics s = f.pool.statistics();
  BOOST_TEST((s == cistern::pool_statistics{}));
}

BOOST_AUTO_TEST_CASE(equality_is_identity) {
  checking_resource upstream;
  const unsynchronized_pool_resource pool(&upstream);
  const unsynchronized_pool_resource other(&upstream);
  BOOST_TEST(pool.is_equal(pool));
  BOOST_TEST(!pool.is_equal(other));
  BOOST_TEST(!pool.is_equal(upstream));
  BOOST_TEST((static_cast<const std::pmr::memory_resource&>(pool) == pool));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(options)

BOOST_AUTO_TEST_CASE(defaults_are_filled_in) {
  const pool_options o = unsynchronized_pool_resource().options();
  BOOST_TEST(o.max_blocks_per_chunk == 65'536U);
  BOOST_TEST(o.largest_required_pool_block == 32 * mib);
  BOOST_TEST(o.max_bytes == no_limit);
  BOOST_TEST(o.max_idle_bytes == 64 * mib);
  BOOST_TEST(o.max_idle_blocks_per_bucket == no_limit);
  BOOST_TEST(o.thread_cache_bytes == 8 * mib);
  BOOST_TEST(o.thread_caches_total_bytes == 32 * mib);
  BOOST_TEST(!o.zero_on_free);
  BOOST_TEST(o.count_operations);
  BOOST_TEST(!o.pass_through);
}

BOOST_AUTO_TEST_CASE(values_beyond_the_bounds_are_lowered) {
  const pool_options o = unsynchronized_pool_resource(
                             {.max_blocks_per_chunk = no_limit, .largest_required_pool_block = no_limit})
                             .options();
  BOOST_TEST(o.max_blocks_per_chunk == 65'536U);
  BOOST_TEST(o.largest_required_pool_block == 1024 * mib);
  const pool_options small = unsynchronized_pool_resource({.largest_required_pool_block = 1}).options();
  BOOST_TEST(small.largest_required_pool_block == 16U);
  const pool_options between = unsynchronized_pool_resource({.largest_required_pool_block = 65}).options();
  BOOST_TEST(between.largest_required_pool_block == 80U);
}

BOOST_AUTO_TEST_CASE(options_in_effect_stay_in_effect) {
  const pool_options asked{.max_blocks_per_chunk = 10,
                           .largest_required_pool_block = 5000,
                           .max_bytes = mib,
                           .max_idle_bytes = 10 * kib,
                           .max_idle_blocks_per_bucket = 3,
                           .zero_on_free = true,
                           .count_operations = false,
                           .pass_through = true};
  const pool_options once = unsynchronized_pool_resource(asked).options();
  BOOST_TEST((unsynchronized_pool_resource(once).options() == once));
}

BOOST_AUTO_TEST_CASE(the_standards_options_are_never_refused) {
  for (const std::size_t value : {std::size_t{0}, std::size_t{1}, SIZE_MAX / 2, SIZE_MAX}) {
    const std::pmr::pool_options asked{value, value};
    const pool_options o = unsynchronized_pool_resource(asked).options();
    BOOST_TEST(o.max_blocks_per_chunk >= 1U);
    BOOST_TEST(o.largest_required_pool_block >= 16U);
    const std::pmr::pool_options back = o;
    BOOST_TEST(back.max_blocks_per_chunk == o.max_blocks_per_chunk);
    BOOST_TEST(back.largest_required_pool_block == o.largest_required_pool_block);
  }
}

BOOST_AUTO_TEST_CASE(what_can_not_be_honoured_is_refused_by_name_value_and_bound) {
  const std::size_t absurd = std::size_t{1} << 40;
  BOOST_TEST(refusal({.max_bytes = 0}) == "cistern::pool_options::max_bytes is 0, must be at least 1");
  BOOST_TEST(refusal({.max_blocks_per_chunk = absurd}) ==
             "cistern::pool_options::max_blocks_per_chunk is 1099511627776, must be below 1099511627776");
  BOOST_TEST(
      refusal({.largest_required_pool_block = absurd + 1}) ==
      "cistern::pool_options::largest_required_pool_block is 1099511627777, must be below 1099511627776");
  BOOST_TEST(
      refusal({.thread_cache_bytes = SIZE_MAX - 1}) ==
      "cistern::pool_options::thread_cache_bytes is 18446744073709551614, must be below 1099511627776");
  BOOST_TEST(refusal({.max_blocks_per_chunk = absurd - 1, .largest_required_pool_block = absurd - 1}) ==
             "nothing refused");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(allocation)

BOOST_AUTO_TEST_CASE(blocks_of_no_bytes_are_distinct) {
  fixture f;
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(f.pool.allocate(0));
  std::vector<void*> sorted = blocks;
  std::sort(sorted.begin(), sorted.end());
  BOOST_TEST((std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end()));
  BOOST_TEST(bucket_of(f.pool.statistics(), 16).live_blocks == 100U);
  deallocate_all(f.pool, blocks, 0);
  void* over_aligned = f.pool.allocate(0, 4 * page);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(over_aligned) % (4 * page) == 0U);
  f.pool.deallocate(over_aligned, 0, 4 * page);
  BOOST_TEST(f.pool.statistics().in_use_bytes == 0U);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(any_alignment_is_served) {
  fixture f;
  std::vector<user_block> blocks;
  for (std::size_t alignment = 1; alignment <= 256 * kib; alignment *= 2) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{24}, std::size_t{100},
                                    alignment - 1, alignment, alignment + 1, 3 * alignment, 40 * kib}) {
      blocks.push_back(
          {f.pool.allocate(bytes, alignment), bytes, alignment, static_cast<unsigned char>(blocks.size())});
      BOOST_TEST(blocks.back().aligned());
      fill(blocks.back(), bytes);
    }
  }
  BOOST_TEST(f.fault() == "");
  for (const user_block& block : blocks) BOOST_TEST(filled(block, block.bytes));
  for (const user_block& block : blocks) f.pool.deallocate(block.ptr, block.bytes, block.alignment);
  BOOST_TEST(f.pool.statistics().in_use_bytes == 0U);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(the_virtual_and_the_direct_way_are_one) {
  fixture f;
  std::pmr::memory_resource& base = f.pool;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, 40 * kib, 33 * mib}) {
    void* const first = base.allocate(bytes, 8);
    f.pool.deallocate(first, bytes, 8);
    void* const second = f.pool.allocate(bytes, 8);
    if (bytes <= 32 * mib) BOOST_TEST(second == first);  // Last in, first out.
    base.deallocate(second, bytes, 8);
  }
  BOOST_TEST(f.pool.statistics().in_use_bytes == 0U);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(the_block_freed_last_is_used_first) {
  fixture f;
  const std::vector<void*> blocks = allocate_many(f.pool, 10, 48);
  deallocate_all(f.pool, blocks, 48);
  for (std::size_t i = blocks.size(); i-- > 0;) BOOST_TEST(f.pool.allocate(48) == blocks[i]);
}

BOOST_AUTO_TEST_CASE(page_is_the_largest_alignment_asked_unless_the_caller_asks) {
  fixture f({.largest_required_pool_block = 16 * mib});
  for (std::size_t bytes = 1; bytes <= 16 * mib; bytes *= 2) {
    f.pool.deallocate(f.pool.allocate(bytes, 1), bytes, 1);
    void* const on_page = f.pool.allocate(bytes, page);
    f.pool.deallocate(on_page, bytes, page);
  }
  BOOST_TEST(f.upstream.largest_alignment() <= page);
  f.pool.deallocate(f.pool.allocate(1, 2 * page), 1, 2 * page);
  BOOST_TEST(f.upstream.largest_alignment() == 2 * page);
}

BOOST_AUTO_TEST_CASE(a_pool_serves_containers) {
  fixture f;
  {
    std::pmr::vector<std::pmr::string> words(&f.pool);
    for (int i = 0; i < 1000; ++i) words.emplace_back(static_cast<std::size_t>(i), 'x');
    BOOST_TEST(words.back().size() == 999U);
    BOOST_TEST(f.fault() == "");
  }
  BOOST_TEST(f.pool.statistics().in_use_bytes == 0U);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(oversize_and_large)

BOOST_AUTO_TEST_CASE(a_request_above_the_bound_goes_to_upstream_and_back) {
  fixture f({.largest_required_pool_block = 4096});
  void* const largest_pooled = f.pool.allocate(4096);
  BOOST_TEST(f.pool.statistics().oversize.allocations == 0U);
  const std::size_t before_bytes = f.upstream.outstanding_bytes();
  void* const oversize = f.pool.allocate(4097);
  BOOST_TEST(f.upstream.outstanding_bytes() >= before_bytes + 4097);
  BOOST_TEST(f.upstream.outstanding_bytes() <= before_bytes + 4097 + 64);
  const cistern::oversize_statistics row = f.pool.statistics().oversize;
  BOOST_TEST(row.allocations == 1U);
  BOOST_TEST(row.live_blocks == 1U);
  BOOST_TEST(row.live_bytes >= 4097U);
  BOOST_TEST(f.fault() == "");
  f.pool.deallocate(oversize, 4097);
  BOOST_TEST(f.upstream.outstanding_bytes() == before_bytes);
  BOOST_TEST(f.pool.statistics().oversize.deallocations == 1U);
  BOOST_TEST(f.pool.statistics().oversize.live_bytes == 0U);
  f.pool.deallocate(largest_pooled, 4096);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(an_alignment_above_a_page_goes_to_upstream_and_back) {
  fixture f;
  void* const block = f.pool.allocate(100, 2 * page);
  BOOST_TEST(f.pool.statistics().oversize.live_blocks == 1U);
  f.pool.deallocate(block, 100, 2 * page);
  BOOST_TEST(f.upstream.outstanding_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(large_blocks_take_no_more_than_asked_and_are_kept_for_the_next_request) {
  fixture f;
  for (const std::size_t bytes : {40 * kib, 64 * kib, 1 * mib, 16 * mib}) {
    void* const block = f.pool.allocate(bytes);
    BOOST_TEST(f.upstream.largest_request_bytes() == region_bytes_of(f.pool.good_size(bytes) / page));
    f.pool.deallocate(block, bytes);
    const std::uint64_t calls = f.upstream.allocations();
    BOOST_TEST(f.pool.allocate(bytes) == block);
    BOOST_TEST(f.upstream.allocations() == calls);
    f.pool.deallocate(block, bytes);
    BOOST_TEST(f.upstream.deallocations() == 0U);
    const cistern::bucket_statistics row = bucket_of(f.pool.statistics(), f.pool.good_size(bytes));
    BOOST_TEST(row.hits == 1U);
    BOOST_TEST(row.misses == 1U);
    BOOST_TEST(row.returned == 2U);
    BOOST_TEST(row.depth == (bytes <= 1 * mib ? 1U : 0U));  // one is at hand; free pages are nobody's
  }
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(allocate_at_least)

BOOST_AUTO_TEST_CASE(it_grants_the_whole_block_and_either_size_frees_it) {
  fixture f;
  std::vector<std::pair<user_block, std::size_t>> blocks;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{17}, std::size_t{100},
                                  std::size_t{1025}, 5 * kib, 33 * kib, 3 * mib}) {
    for (const bool with_granted : {false, true}) {
      const cistern::sized_block got = f.pool.allocate_at_least(bytes, 8);
      BOOST_TEST(got.bytes == f.pool.good_size(bytes));
      const user_block block{got.ptr, with_granted ? got.bytes : bytes, 8, 7};
      fill(block, got.bytes);
      blocks.push_back({block, got.bytes});
    }
  }
  for (const auto& [block, granted] : blocks) {
    BOOST_TEST(filled(block, granted));
    f.pool.deallocate(block.ptr, block.bytes, block.alignment);
  }
  BOOST_TEST(f.pool.statistics().in_use_bytes == 0U);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(alignment_counts_for_what_is_granted) {
  fixture f;
  for (std::size_t alignment = 1; alignment <= 64 * kib; alignment *= 2) {
    for (std::size_t bytes = 0; bytes < 300; bytes += 13) {
      for (const bool with_granted : {false, true}) {
        const cistern::sized_block got = f.pool.allocate_at_least(bytes, alignment);
        BOOST_TEST_INFO(bytes << " bytes aligned to " << alignment);
        BOOST_REQUIRE(got.bytes >= std::max<std::size_t>(bytes, 1));
        BOOST_REQUIRE(reinterpret_cast<std::uintptr_t>(got.ptr) % alignment == 0);
        std::memset(got.ptr, 1, got.bytes);
        f.pool.deallocate(got.ptr, with_granted ? got.bytes : bytes, alignment);
      }
    }
  }
  BOOST_TEST(f.pool.statistics().in_use_bytes == 0U);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(oversize_blocks_are_freed_by_either_size) {
  fixture f({.largest_required_pool_block = 64});
  for (std::size_t bytes = 65; bytes < 200; ++bytes) {
    for (const bool with_granted : {false, true}) {
      const cistern::sized_block got = f.pool.allocate_at_least(bytes);
      BOOST_REQUIRE(got.bytes >= bytes);
      std::memset(got.ptr, 1, got.bytes);
      f.pool.deallocate(got.ptr, with_granted ? got.bytes : bytes);
      BOOST_REQUIRE(f.upstream.outstanding_bytes() == 0U);
    }
  }
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(pass_through_grants_what_was_asked) {
  fixture f({.pass_through = true});
  const cistern::sized_block got = f.pool.allocate_at_least(33);
  BOOST_TEST(got.bytes == 33U);
  BOOST_TEST(f.upstream.outstanding_bytes() == 33U);
  f.pool.deallocate(got.ptr, 33);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(releasing)

BOOST_AUTO_TEST_CASE(release_gives_all_back_and_the_pool_goes_on) {
  fixture f({.largest_required_pool_block = mib});
  for (int round = 0; round < 3; ++round) {
    for (std::size_t bytes = 1; bytes <= 2 * mib; bytes *= 3) {
      const std::vector<void*> blocks = allocate_many(f.pool, 20, bytes);
      for (std::size_t i = 0; i < blocks.size(); i += 2) f.pool.deallocate(blocks[i], bytes);
    }
    BOOST_TEST(f.fault() == "");
    f.pool.release();
    BOOST_TEST(f.upstream.outstanding_blocks() == 0U);
    BOOST_TEST(f.fault() == "");
    const cistern::pool_statistics s = f.pool.statistics();
    BOOST_TEST(s.in_use_bytes + s.idle_bytes + s.overhead_bytes == 0U);
    f.pool.release();
    BOOST_TEST(f.fault() == "");
  }
}

BOOST_AUTO_TEST_CASE(the_destructor_gives_all_back_with_blocks_still_in_use) {
  checking_resource upstream;  // Reports a leak by abort.
  for (const bool pass_through : {false, true}) {
    {
      unsynchronized_pool_resource pool({.largest_required_pool_block = mib, .pass_through = pass_through},
                                        &upstream);
      for (std::size_t bytes = 1; bytes <= 4 * mib; bytes *= 2) (void)pool.allocate(bytes);
      (void)pool.allocate(1, 64 * kib);
      BOOST_TEST(upstream.outstanding_blocks() != 0U);
    }
    BOOST_TEST(upstream.outstanding_blocks() == 0U);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(trimming)

BOOST_AUTO_TEST_CASE(trim_gives_back_everything_when_nothing_lives) {
  fixture f;
  for (std::size_t bytes = 1; bytes <= 8 * mib; bytes *= 3) {
    deallocate_all(f.pool, allocate_many(f.pool, bytes < kib ? 1000 : 3, bytes), bytes);
  }
  const std::size_t held_bytes = f.upstream.outstanding_bytes();
  BOOST_TEST(held_bytes > 0U);
  BOOST_TEST(f.pool.trim() == held_bytes);
  BOOST_TEST(f.upstream.outstanding_bytes() == 0U);
  BOOST_TEST(f.fault() == "");
  BOOST_TEST(f.pool.trim() == 0U);
}

// Frees all blocks but those for which `lives(i)`, trims, and says how many chunks each live block kept.
BOOST_AUTO_TEST_CASE(trim_gives_back_every_chunk_without_a_live_block_and_no_other) {
  constexpr std::size_t block_bytes = 128;
  constexpr std::size_t blocks_per_chunk = 8;
  fixture f({.max_blocks_per_chunk = blocks_per_chunk});
  const std::vector<void*> blocks = allocate_many(f.pool, 100 * blocks_per_chunk, block_bytes);
  std::vector<user_block> live;
  std::mt19937_64 random(1);
  std::vector<void*> freed;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const std::size_t chunk = i / blocks_per_chunk;  // A chunk is carved to its end before the next one.
    if (chunk % 4 == 0 && i % blocks_per_chunk == chunk / 4 % blocks_per_chunk) {
      live.push_back({blocks[i], block_bytes, 8, static_cast<unsigned char>(i)});
      fill(live.back(), block_bytes);
    } else {
      freed.push_back(blocks[i]);
    }
  }
  std::shuffle(freed.begin(), freed.end(), random);
  deallocate_all(f.pool, freed, block_bytes);

  const std::size_t chunk_bytes = blocks_per_chunk * block_bytes + record_bytes;
  const std::size_t before_bytes = f.upstream.outstanding_bytes();
  BOOST_TEST(before_bytes == 100 * chunk_bytes);
  const std::size_t returned_bytes = f.pool.trim();
  BOOST_TEST(returned_bytes == 75 * chunk_bytes);
  BOOST_TEST(f.upstream.outstanding_bytes() == before_bytes - returned_bytes);
  BOOST_TEST(f.fault() == "");
  for (const user_block& block : live) BOOST_TEST(filled(block, block_bytes));

  // What stays free is used before anything new is carved.
  const std::size_t depth = bucket_of(f.pool.statistics(), block_bytes).depth;
  BOOST_TEST(depth == 25 * (blocks_per_chunk - 1));
  std::vector<void*> again = allocate_many(f.pool, depth, block_bytes);
  std::sort(freed.begin(), freed.end());
  for (void* block : again) BOOST_TEST(std::binary_search(freed.begin(), freed.end(), block));
  BOOST_TEST(f.upstream.outstanding_bytes() == 25 * chunk_bytes);
  deallocate_all(f.pool, again, block_bytes);
  for (const user_block& block : live) f.pool.deallocate(block.ptr, block_bytes);
  BOOST_TEST(f.pool.trim() == 25 * chunk_bytes);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(a_chunk_partly_carved_is_given_back_too) {
  fixture f;
  void* const block = f.pool.allocate(32);
  f.pool.deallocate(block, 32);
  BOOST_TEST(f.idle_bytes() > 32U);
  BOOST_TEST(f.pool.trim() > 0U);
  BOOST_TEST(f.upstream.outstanding_bytes() == 0U);

  // ... but not while a block of it lives; and carving goes on after the trim.
  void* const live = f.pool.allocate(32);
  f.pool.deallocate(f.pool.allocate(32), 32);
  BOOST_TEST(f.pool.trim() == 0U);
  BOOST_TEST(f.fault() == "");
  deallocate_all(f.pool, allocate_many(f.pool, 1000, 32), 32);
  f.pool.deallocate(live, 32);
  f.pool.trim();
  BOOST_TEST(f.upstream.outstanding_bytes() == 0U);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(trim_keeps_at_most_what_it_is_told_to) {
  for (const std::size_t keep_bytes :
       {std::size_t{0}, std::size_t{1}, 4 * kib, 100 * kib, 1 * mib, 3 * mib, 100 * mib}) {
    fixture f;
    for (const std::size_t bytes : {std::size_t{16}, std::size_t{100}, std::size_t{3000}, 100 * kib}) {
      deallocate_all(f.pool, allocate_many(f.pool, mib / bytes + 1, bytes), bytes);
    }
    const std::size_t idle_before = f.idle_bytes();
    const std::size_t held_before = f.upstream.outstanding_bytes();
    const std::size_t returned_bytes = f.pool.trim(keep_bytes);
    BOOST_TEST_INFO("keep " << keep_bytes);
    BOOST_TEST(f.idle_bytes() <= keep_bytes);
    BOOST_TEST(held_before - f.upstream.outstanding_bytes() == returned_bytes);
    if (keep_bytes >= idle_before) BOOST_TEST(returned_bytes == 0U);
    BOOST_TEST(f.fault() == "");
  }
}

BOOST_AUTO_TEST_CASE(trim_after_random_churn_keeps_every_live_block) {
  fixture f;
  std::mt19937_64 random(2);
  std::vector<user_block> live;
  for (std::size_t step = 0; step < scaled(30'000); ++step) {
    if (live.size() < 500 || random() % 2 == 0) {
      const std::size_t bytes = 1 + below(random, 300);
      live.push_back({f.pool.allocate(bytes), bytes, 16, static_cast<unsigned char>(random())});
      fill(live.back(), bytes);
    } else {
      std::swap(live[below(random, live.size())], live.back());
      BOOST_REQUIRE(filled(live.back(), live.back().bytes));
      f.pool.deallocate(live.back().ptr, live.back().bytes);
      live.pop_back();
    }
    if (step % 1000 == 999) {
      const std::size_t before_bytes = f.upstream.outstanding_bytes();
      const std::size_t returned_bytes = f.pool.trim(below(random, 50 * kib));
      BOOST_REQUIRE(before_bytes - f.upstream.outstanding_bytes() == returned_bytes);
      BOOST_REQUIRE(f.fault() == "");
      BOOST_REQUIRE(std::all_of(live.begin(), live.end(),
                                [](const user_block& block) { return filled(block, block.bytes); }));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(idle_bounds)

BOOST_AUTO_TEST_CASE(next_to_nothing_stays_when_nothing_may_stay_and_all_is_freed) {
  fixture f({.max_idle_bytes = 0});
  std::mt19937_64 random(3);
  for (const std::size_t count : {1U, 2U, 100U, 5000U}) {
    for (const std::size_t bytes : {std::size_t{16}, std::size_t{100}, std::size_t{5000}, 40 * kib}) {
      if (count * bytes > 32 * mib) continue;
      for (int order = 0; order < 3; ++order) {
        std::vector<void*> blocks = allocate_many(f.pool, count, bytes);
        if (order == 1) std::reverse(blocks.begin(), blocks.end());
        if (order == 2) std::shuffle(blocks.begin(), blocks.end(), random);
        deallocate_all(f.pool, blocks, bytes);
        go_on(f.pool);
        BOOST_TEST_INFO(count << " blocks of " << bytes << " bytes, order " << order);
        // A least stay for each of the classes that are cut: one in use, and small ones not worth a look.
        BOOST_TEST(f.idle_bytes() <= 4 * 256 * kib);
        BOOST_TEST(f.fault() == "");
      }
    }
  }
  BOOST_TEST(f.pool.trim() > 0U);
  BOOST_TEST(f.upstream.outstanding_bytes() == 0U);
}

// What was idle beyond the bound, as live blocks held the spans, is no licence for later.
BOOST_AUTO_TEST_CASE(after_a_trim_or_release_the_bound_is_what_it_was) {
  constexpr std::size_t bytes = 64;
  constexpr std::size_t max_idle_bytes = 64 * kib;
  for (const bool by_release : {false, true}) {
    fixture f({.max_idle_bytes = max_idle_bytes});
    std::vector<void*> blocks = allocate_many(f.pool, 20'000, bytes);
    for (std::size_t i = 0; i < blocks.size(); i += 2) f.pool.deallocate(blocks[i], bytes);
    if (by_release) {
      f.pool.release();
    } else {
      f.pool.trim();
      for (std::size_t i = 1; i < blocks.size(); i += 2) f.pool.deallocate(blocks[i], bytes);
      f.pool.trim();
    }
    BOOST_TEST(f.upstream.outstanding_bytes() == 0U);
    for (const std::size_t count : {2000U, 5000U, 9000U}) {
      deallocate_all(f.pool, allocate_many(f.pool, count, bytes), bytes);
      go_on(f.pool);
      BOOST_TEST_INFO(count << " blocks, by_release " << by_release);
      BOOST_TEST(f.idle_bytes() <= max_idle_bytes + 8 * 64 * kib);  // a region is held by what is at hand
    }
    BOOST_TEST(f.fault() == "");
  }
}

BOOST_AUTO_TEST_CASE(one_size_stays_within_the_bound) {
  std::mt19937_64 random(4);
  for (const std::size_t max_idle_bytes : {std::size_t{1}, 4 * kib, 64 * kib, 1 * mib}) {
    for (const std::size_t bytes :
         {std::size_t{16}, std::size_t{112}, std::size_t{1000}, 20 * kib, 100 * kib}) {
      for (int order = 0; order < 3; ++order) {
        fixture f({.max_idle_bytes = max_idle_bytes});
        std::vector<void*> blocks = allocate_many(f.pool, 32 * mib / bytes, bytes);
        if (order == 1) std::reverse(blocks.begin(), blocks.end());
        if (order == 2) std::shuffle(blocks.begin(), blocks.end(), random);
        deallocate_all(f.pool, blocks, bytes);
        go_on(f.pool);
        BOOST_TEST_INFO(bytes << " bytes, order " << order);
        BOOST_TEST(f.idle_bytes() <= most_idle_bytes(max_idle_bytes));
        BOOST_TEST(f.fault() == "");
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(many_sizes_together_stay_within_the_bound) {
  std::mt19937_64 random(5);
  for (const std::size_t max_idle_bytes : {std::size_t{0}, 64 * kib, 1 * mib, 4 * mib}) {
    fixture f({.max_idle_bytes = max_idle_bytes});
    for (int round = 0; round < 5; ++round) {
      std::vector<user_block> live;
      for (std::size_t i = 0; i < scaled(20'000); ++i) {
        const std::size_t bytes = 1 + below(random, std::size_t{1} << (4 + random() % 9));
        live.push_back({f.pool.allocate(bytes), bytes});
      }
      std::shuffle(live.begin(), live.end(), random);
      for (const user_block& block : live) f.pool.deallocate(block.ptr, block.bytes);
      go_on(f.pool);
      BOOST_TEST_INFO("bound " << max_idle_bytes << ", round " << round);
      // What the class in use keeps at hand holds a region.
      BOOST_TEST(f.idle_bytes() <= max_idle_bytes + max_idle_bytes / 8 + 4 * mib);
      BOOST_TEST(f.fault() == "");
    }
  }
}

// Free pages between live blocks of one region come on top.
BOOST_AUTO_TEST_CASE(large_blocks_stay_within_the_bound_at_every_step) {
  constexpr std::size_t max_idle_bytes = 8 * mib;
  fixture f({.max_idle_bytes = max_idle_bytes});
  std::mt19937_64 random(6);
  std::vector<user_block> live;
  for (int step = 0; step < 2000; ++step) {
    if (live.size() < 5 || (live.size() < 40 && random() % 2 == 0)) {
      const std::size_t bytes = 33 * kib + below(random, 2 * mib);
      live.push_back({f.pool.allocate(bytes), bytes});
    } else {
      std::swap(live[below(random, live.size())], live.back());
      f.pool.deallocate(live.back().ptr, live.back().bytes);
      live.pop_back();
    }
    BOOST_REQUIRE(f.idle_bytes() <= most_idle_bytes(max_idle_bytes) + live.size() * largest_region_bytes);
  }
  for (const user_block& block : live) f.pool.deallocate(block.ptr, block.bytes);
  go_on(f.pool);
  BOOST_TEST(f.idle_bytes() <= max_idle_bytes + max_idle_bytes / 8);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(a_block_larger_than_the_bound_goes_back_at_once) {
  fixture f({.max_idle_bytes = 64 * kib});
  void* const block = f.pool.allocate(1 * mib);
  f.pool.deallocate(block, 1 * mib);
  BOOST_TEST(f.upstream.outstanding_bytes() == 0U);
  BOOST_TEST(bucket_of(f.pool.statistics(), 1 * mib).returned == 1U);
}

BOOST_AUTO_TEST_CASE(giving_back_is_amortised) {
  // Rounds that use four times the bound: what goes back must be fetched again, a chunk at a time, and no
  // more. With chunks of 256 KiB and up, a call of upstream each moves at least that much but for the first.
  constexpr std::size_t bytes = 64;
  fixture f({.max_idle_bytes = 1 * mib});
  for (int round = 0; round < 10; ++round) {
    deallocate_all(f.pool, allocate_many(f.pool, 4 * mib / bytes, bytes), bytes);
  }
  const cistern::pool_statistics s = f.pool.statistics();
  BOOST_TEST(s.upstream_allocations <= 10 * 30U);
  BOOST_TEST(s.upstream_deallocations <= s.upstream_allocations);

  // Traffic that fits into the bound calls upstream no more once it has its memory.
  deallocate_all(f.pool, allocate_many(f.pool, kib, bytes), bytes);
  const std::uint64_t calls = f.upstream.allocations() + f.upstream.deallocations();
  for (int round = 0; round < 100; ++round) {
    deallocate_all(f.pool, allocate_many(f.pool, kib, bytes), bytes);
  }
  BOOST_TEST(f.upstream.allocations() + f.upstream.deallocations() == calls);
}

BOOST_AUTO_TEST_CASE(a_bucket_keeps_no_more_blocks_than_allowed) {
  std::mt19937_64 random(7);
  for (const std::size_t most_blocks : {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{1000}}) {
    for (const std::size_t bytes : {std::size_t{16}, std::size_t{100}, std::size_t{5000}, 40 * kib}) {
      for (int order = 0; order < 3; ++order) {
        fixture f({.max_idle_blocks_per_bucket = most_blocks});
        for (const std::size_t count : {1U, 70U, 100U, 300U, 1001U}) {
          std::vector<void*> blocks = allocate_many(f.pool, count, bytes);
          if (order == 1) std::reverse(blocks.begin(), blocks.end());
          if (order == 2) std::shuffle(blocks.begin(), blocks.end(), random);
          deallocate_all(f.pool, blocks, bytes);
          BOOST_TEST_INFO(most_blocks << " blocks of " << bytes << " bytes after " << count << ", order "
                                      << order);
          // Each block that is kept may hold a span, of at most 64 KiB here, with what else is free in it.
          const std::size_t depth = bucket_of(f.pool.statistics(), f.pool.good_size(bytes)).depth;
          BOOST_TEST(depth <= most_blocks * (64 * kib / f.pool.good_size(bytes)));
          BOOST_TEST(f.fault() == "");
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(free_large_blocks_are_no_buckets_and_bounded_by_bytes_alone) {
  fixture f({.max_idle_bytes = 300 * kib, .max_idle_blocks_per_bucket = 0});
  deallocate_all(f.pool, allocate_many(f.pool, 100, 64 * kib), 64 * kib);
  const cistern::bucket_statistics row = bucket_of(f.pool.statistics(), 64 * kib);
  BOOST_TEST(row.depth == 0U);
  BOOST_TEST(row.returned == 100U);
  BOOST_TEST(row.discarded == 0U);
  BOOST_TEST(f.idle_bytes() <= 300 * kib);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(ceiling)

BOOST_AUTO_TEST_CASE(the_ceiling_is_never_exceeded_and_can_be_reached) {
  std::mt19937_64 random(8);
  for (const std::size_t max_bytes :
       {std::size_t{1}, std::size_t{79}, std::size_t{80}, std::size_t{1000}, 10 * kib, 300 * kib, 3 * mib}) {
    fixture f({.largest_required_pool_block = 64 * kib, .max_bytes = max_bytes});
    std::vector<user_block> live;
    std::size_t refused = 0;
    for (std::size_t step = 0; step < 10'000; ++step) {
      if (random() % 3 != 0) {
        const std::size_t bytes = 1 + below(random, std::size_t{1} << (random() % 18));
        try {
          live.push_back({f.pool.allocate(bytes), bytes});
        } catch (const cistern::bad_allocation&) {
          ++refused;
        }
      } else if (!live.empty()) {
        std::swap(live[below(random, live.size())], live.back());
        f.pool.deallocate(live.back().ptr, live.back().bytes);
        live.pop_back();
      }
    }
    BOOST_TEST_INFO("ceiling " << max_bytes);
    BOOST_TEST(f.upstream.peak_bytes() <= max_bytes);
    BOOST_TEST(refused > 0U);
    BOOST_TEST(f.fault() == "");
  }
}

BOOST_AUTO_TEST_CASE(the_pool_trims_itself_before_it_refuses) {
  fixture f({.max_bytes = 1 * mib});
  // Every byte idle in small blocks, then one large block that needs almost all.
  deallocate_all(f.pool, allocate_many(f.pool, 8000, 100), 100);
  BOOST_TEST(f.upstream.outstanding_bytes() > 800U * kib);
  void* const large = f.pool.allocate(1 * mib - record_bytes - 200 * kib);
  BOOST_TEST(f.upstream.peak_bytes() <= 1 * mib);
  f.pool.deallocate(large, 1 * mib - record_bytes - 200 * kib);
  // The same the other way round, and for a request that no bucket serves.
  const std::vector<void*> small = allocate_many(f.pool, 8000, 100);
  deallocate_all(f.pool, small, 100);
  void* const over_aligned = f.pool.allocate(700 * kib, 2 * page);
  f.pool.deallocate(over_aligned, 700 * kib, 2 * page);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(a_smaller_chunk_is_taken_where_a_large_one_does_not_fit) {
  constexpr std::size_t bytes = 64;
  constexpr std::size_t max_bytes = 100'000;
  fixture f({.max_bytes = max_bytes});
  std::size_t served = 0;
  try {
    for (;; ++served) (void)f.pool.allocate(bytes);
  } catch (const cistern::bad_allocation&) {
  }
  // All but what less than one more chunk of one block would need.
  BOOST_TEST(f.upstream.outstanding_bytes() > max_bytes - bytes - record_bytes);
  BOOST_TEST(served * bytes > max_bytes * 9 / 10);
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(a_refusal_names_the_sizes_and_changes_nothing) {
  constexpr std::size_t max_bytes = 50'000;
  fixture f({.max_bytes = max_bytes});
  const std::vector<void*> live = allocate_many(f.pool, 100, 100);
  f.pool.trim();
  const cistern::pool_statistics before = f.pool.statistics();
  // The block that a bucket would give, or the request itself where none serves it.
  for (const auto& [bytes, named_bytes] :
       {std::pair{std::size_t{49'000}, std::size_t{49'152}}, {40 * mib, 40 * mib}}) {
    try {
      (void)f.pool.allocate(bytes);
      BOOST_ERROR("not refused");
    } catch (const std::bad_alloc& error) {
      const std::string text = error.what();
      BOOST_TEST(contains(text, std::to_string(bytes) + " bytes requested, which take " +
                                    std::to_string(named_bytes)),
                 text);
      BOOST_TEST(contains(text, "limit 50000"), text);
      BOOST_TEST(contains(text, "held " + std::to_string(before.upstream_bytes)), text);
    }
    BOOST_TEST(same_but_for_idle_places(f.pool.statistics(), before));
    BOOST_TEST(f.fault() == "");
  }
  deallocate_all(f.pool, live, 100);
  f.pool.trim();
  f.pool.deallocate(f.pool.allocate(49'000), 49'000);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(zeroing)

// The pool's own links lie in the first bytes of a free block.
constexpr std::size_t link_bytes = 16;

bool all_zero(const std::byte* begin, std::size_t bytes) {
  return std::all_of(begin, begin + bytes, [](std::byte b) { return b == std::byte{0}; });
}

BOOST_AUTO_TEST_CASE(freed_memory_is_zero_when_it_is_used_again) {
  fixture f({.zero_on_free = true});
  for (const std::size_t bytes : {std::size_t{17}, std::size_t{100}, std::size_t{3000}, 50 * kib}) {
    const cistern::sized_block secret = f.pool.allocate_at_least(bytes);
    std::memset(secret.ptr, 0x5a, secret.bytes);
    f.pool.deallocate(secret.ptr, bytes);
    const cistern::sized_block again = f.pool.allocate_at_least(bytes);
    BOOST_TEST(again.ptr == secret.ptr);
    BOOST_TEST(all_zero(static_cast<std::byte*>(again.ptr) + link_bytes, again.bytes - link_bytes));
    f.pool.deallocate(again.ptr, again.bytes);
  }
  BOOST_TEST(f.fault() == "");
}

BOOST_AUTO_TEST_CASE(freed_memory_is_zero_when_upstream_gets_it) {
  for (const pool_options& options :
       {pool_options{.zero_on_free = true},
        pool_options{.largest_required_pool_block = 16, .zero_on_free = true},
        pool_options{.max_idle_bytes = 0, .zero_on_free = true},
        pool_options{.max_bytes = 10 * mib, .zero_on_free = true, .pass_through = true}}) {
    noting_resource upstream;
    std::size_t secrets_seen = 0;
    std::size_t blocks_seen = 0;
    upstream.on_free = [&](const std::byte* block, std::size_t bytes) {
      ++blocks_seen;
      // Four in a row: the pool's own records may have one such byte.
      const std::string_view text(reinterpret_cast<const char*>(block), bytes);
      secrets_seen += text.find("\x5a\x5a\x5a\x5a") != std::string_view::npos ? 1 : 0;
    };
    {
      unsynchronized_pool_resource pool(options, &upstream);
      for (const std::size_t bytes : {std::size_t{17}, std::size_t{100}, std::size_t{3000}, 50 * kib}) {
        std::vector<void*> blocks;
        for (int i = 0; i < 10; ++i) {
          const cistern::sized_block secret = pool.allocate_at_least(bytes);
          std::memset(secret.ptr, 0x5a, secret.bytes);
          blocks.push_back(secret.ptr);
        }
        deallocate_all(pool, blocks, bytes);
      }
    }
    BOOST_TEST(blocks_seen > 0U);
    BOOST_TEST(secrets_seen == 0U);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(counting)

BOOST_AUTO_TEST_CASE(operations_are_counted_unless_told_otherwise) {
  for (const bool count : {true, false}) {
    fixture f({.count_operations = count});
    for (int round = 0; round < 3; ++round) deallocate_all(f.pool, allocate_many(f.pool, 10, 100), 100);
    const cistern::bucket_statistics row = bucket_of(f.pool.statistics(), 112);
    BOOST_TEST(row.misses == 3U);  // four blocks, the last two of a span of six, the twelve of the next one
    BOOST_TEST(row.hits == (count ? 27U : 0U));
    BOOST_TEST(row.returned == (count ? 30U : 0U));
    BOOST_TEST(row.depth == 18U);
    BOOST_TEST(f.fault() == "");
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(chunks)

BOOST_AUTO_TEST_CASE(chunks_start_small_grow_and_are_capped) {
  for (const std::size_t bytes : {std::size_t{16}, std::size_t{64}, std::size_t{1000}, std::size_t{4000}}) {
    noting_resource upstream;
    unsynchronized_pool_resource pool(&upstream);
    (void)allocate_many(pool, 8 * mib / bytes, bytes);
    const std::vector<std::size_t>& asked = upstream.asked_bytes;
    BOOST_TEST_INFO(bytes << " bytes");
    BOOST_TEST(asked.front() <= 9U * kib);
    BOOST_TEST(std::is_sorted(asked.begin(), asked.end()));
    BOOST_TEST(asked.back() <= 4 * mib + 128 * kib);
    BOOST_TEST(asked.back() > 1U * mib);
    BOOST_TEST(asked.size() < 40U);
    // No region is large against what the pool held before it: small pools stay small.
    std::size_t held_bytes = 0;
    for (const std::size_t region_bytes : asked) {
      BOOST_TEST(region_bytes <= std::max(held_bytes, 9 * kib));
      held_bytes += region_bytes;
    }
  }
}

BOOST_AUTO_TEST_CASE(max_blocks_per_chunk_is_honoured) {
  for (const std::size_t most_blocks : {std::size_t{1}, std::size_t{2}, std::size_t{10}, std::size_t{500}}) {
    for (const std::size_t bytes : {std::size_t{16}, std::size_t{128}, std::size_t{4096}}) {
      fixture f({.max_blocks_per_chunk = most_blocks});
      deallocate_all(f.pool, allocate_many(f.pool, 5000, bytes), bytes);
      BOOST_TEST(f.upstream.largest_request_bytes() <= (most_blocks * bytes + 63) / 64 * 64 + record_bytes);
      BOOST_TEST(f.upstream.allocations() >= 5000 / most_blocks);
      BOOST_TEST(f.fault() == "");
    }
    // Blocks that are pages of their own lie in regions, which have a record for each page.
    for (const std::size_t bytes : {40 * kib, 320 * kib}) {
      fixture f({.max_blocks_per_chunk = most_blocks});
      deallocate_all(f.pool, allocate_many(f.pool, 100, bytes), bytes);
      BOOST_TEST(f.upstream.largest_request_bytes() <= region_bytes_of(most_blocks * bytes / page));
      BOOST_TEST(f.upstream.allocations() >= 100 / most_blocks);
      BOOST_TEST(f.fault() == "");
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(failure)

// Allocates blocks of many sizes; a call that fails must change nothing. Everything is freed at the end, and
// the pool as it was before, so that the next run does the same.
void serve_once(unsynchronized_pool_resource& pool, const checking_resource& upstream) {
  std::vector<user_block> live;
  const auto free_all = [&] {
    for (const user_block& block : live) pool.deallocate(block.ptr, block.bytes);
    BOOST_REQUIRE(pool.statistics().in_use_bytes == 0U);
    (void)pool.trim();
    BOOST_REQUIRE(fault_in(pool, upstream) == "");
    BOOST_REQUIRE(upstream.outstanding_bytes() == 0U);
  };
  for (std::size_t i = 0; i < 60; ++i) {
    const std::size_t bytes = i * i * 20;
    const cistern::pool_statistics before = pool.statistics();
    try {
      live.push_back({pool.allocate(bytes), bytes, 16, static_cast<unsigned char>(i)});
    } catch (const std::bad_alloc&) {
      BOOST_REQUIRE(same_but_for_idle_places(pool.statistics(), before));
      BOOST_REQUIRE(fault_in(pool, upstream) == "");
      free_all();
      throw;
    }
    fill(live.back(), bytes);
  }
  for (const user_block& block : live) BOOST_REQUIRE(filled(block, block.bytes));
  free_all();
}

BOOST_AUTO_TEST_CASE(an_upstream_that_throws_at_any_call_changes_nothing) {
  using cistern::testing::failure_mode;
  for (const pool_options& options :
       {pool_options{}, pool_options{.max_blocks_per_chunk = 3},
        pool_options{.largest_required_pool_block = 64}, pool_options{.max_bytes = 10 * mib},
        pool_options{.max_idle_bytes = 0}, pool_options{.pass_through = true}}) {
    for (const auto mode : {failure_mode::once, failure_mode::from_then_on}) {
      checking_resource checked;
      failing_resource upstream(&checked);
      unsynchronized_pool_resource pool(options, &upstream);
      const auto result = cistern::testing::fail_every_allocation(
          upstream, [&] { serve_once(pool, checked); }, {.mode = mode});
      // What fails once and then goes well is asked for again, or less of it.
      BOOST_TEST(result.failed_runs + result.absorbed_runs > 10U);
      BOOST_TEST((result.absorbed_runs == 0U || mode == failure_mode::once));
    }
  }
}

BOOST_AUTO_TEST_CASE(sizes_out_of_reach_are_refused) {
  for (const pool_options& options : {pool_options{}, pool_options{.largest_required_pool_block = no_limit},
                                      pool_options{.pass_through = true}, pool_options{.max_bytes = mib}}) {
    fixture f(options);
    void* const live = f.pool.allocate(100);
    const cistern::pool_statistics before = f.pool.statistics();
    for (std::size_t alignment = 1; alignment <= 64 * kib; alignment *= 2) {
      for (std::size_t less = 0; less < 70; ++less) {
        for (const std::size_t top :
             {SIZE_MAX, std::size_t{PTRDIFF_MAX} + 35, SIZE_MAX - page, SIZE_MAX / 4 * 3}) {
          BOOST_CHECK_THROW((void)f.pool.allocate(top - less, alignment), std::bad_alloc);
          BOOST_CHECK_THROW((void)f.pool.allocate_at_least(top - less, alignment), std::bad_alloc);
        }
      }
    }
    BOOST_TEST(same_but_for_idle_places(f.pool.statistics(), before));
    BOOST_TEST(f.fault() == "");
    f.pool.deallocate(live, 100);
  }
}

BOOST_AUTO_TEST_CASE(a_size_no_object_can_have_is_named) {
  fixture f;
  try {
    (void)f.pool.allocate(SIZE_MAX);
    BOOST_ERROR("not refused");
  } catch (const cistern::bad_allocation& error) {
    BOOST_TEST(error.requested_bytes() == SIZE_MAX);
    BOOST_TEST(contains(error.what(), "larger than any object can be"), error.what());
  }
}

BOOST_AUTO_TEST_CASE(an_alignment_that_is_no_power_of_two_is_a_broken_precondition) {
  if constexpr (cistern::detail::checked_build) {
    for (const std::size_t alignment : {std::size_t{0}, std::size_t{3}, std::size_t{24}, std::size_t{5000}}) {
      fixture f;
      std::pmr::memory_resource& base = f.pool;
      void* const block = f.pool.allocate(100);
      void* const spare = f.pool.allocate(100);
      f.pool.deallocate(spare, 100);
      const std::string words = "alignment is not a power of two (value " + std::to_string(alignment) + ")";
      BOOST_TEST(dies_saying(words, [&] { (void)f.pool.allocate(100, alignment); }));
      BOOST_TEST(dies_saying(words, [&] { f.pool.deallocate(block, 100, alignment); }));
      BOOST_TEST(dies_saying(words, [&] { (void)f.pool.allocate_at_least(100, alignment); }));
#if defined(__clang__) || !defined(__SANITIZE_UNDEFINED__)
      // The base class tells the compiler that the alignment is a power of two.
      BOOST_TEST(dies_saying(words, [&] { (void)base.allocate(100, alignment); }));
      BOOST_TEST(dies_saying(words, [&] { base.deallocate(block, 100, alignment); }));
#endif
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
