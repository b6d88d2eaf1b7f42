// All of a pool for one thread but its handle, through as narrow a door as the handle has: the fast paths of
// a hot list, then `try_allocate` and `deallocate`.
//
// Plan: 1. random programs beside a model, for all kinds of options; 2. a miss takes a batch of one span; 3.
// a class without a live block leaves whole, and serves another size; 4. what is idle follows its bound, in
// steps;
// 5. a class in use keeps a least stay; 6. steady states ask nothing of upstream; 7. zeroing; 8. refusals;
// 9. release.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/bucket_set.hpp>
#include <cistern/no_limit.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/pool_parts.hpp"

using cistern::no_limit;
using cistern::pool_options;
using cistern::pool_statistics;
using cistern::detail::bucket_set;
using cistern::detail::class_block_bytes;
using cistern::detail::class_of;
using cistern::detail::free_block;
using cistern::detail::hot_list;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

unsigned class_for(std::size_t bytes) {
  return class_of(bytes - 1);
}

// A set of buckets, used as a pool uses it.
struct ground : pool_ground {
  explicit ground(const pool_options& asked = {}) : pool_ground(asked) {}

  void* try_allocate(unsigned index) {
    void* block = nullptr;
    if (index < cistern::detail::cached_class_count && buckets[index].head != nullptr) {
      block = buckets[index].pop();
    } else {
      block = buckets.try_allocate(index);
    }
    if (block != nullptr) cistern::detail::asan_unpoison(block, class_block_bytes(index));
    return block;
  }
  // As many blocks as there are, at most `count`.
  std::vector<void*> allocate(std::size_t count, std::size_t bytes) {
    std::vector<void*> blocks;
    while (blocks.size() < count) {
      void* const block = try_allocate(class_for(bytes));
      if (block == nullptr) break;
      blocks.push_back(block);
    }
    return blocks;
  }
  void free(void* block, std::size_t bytes) {
    const unsigned index = class_for(bytes);
    if (index >= cistern::detail::cached_class_count ||
        !buckets[index].try_push(block, class_block_bytes(index))) {
      buckets.deallocate(index, block);
    }
  }
  void free_all(const std::vector<void*>& blocks, std::size_t bytes) {
    for (void* block : blocks) free(block, bytes);
  }
  // A pair after the other: time for what is left to be done.
  void go_on(std::size_t pairs, std::size_t bytes) {
    for (std::size_t i = 0; i < pairs; ++i) free_all(allocate(1, bytes), bytes);
  }

  [[nodiscard]] pool_statistics statistics() const {
    pool_statistics s;
    buckets.add_to(s);
    account.add_to(s);
    return s;
  }
  [[nodiscard]] std::size_t idle_bytes() const { return statistics().idle_bytes; }
  [[nodiscard]] std::uint64_t upstream_calls() const {
    return upstream.allocations() + upstream.deallocations();
  }
  void check() const {
    buckets.check_invariants();
    BOOST_REQUIRE(accounts_fault(statistics(), upstream) == "");
  }

  bucket_set buckets{options, account};
};

std::vector<void*> shuffled(std::vector<void*> blocks) {
  std::shuffle(blocks.begin(), blocks.end(), std::mt19937_64(7));
  return blocks;
}

}  // namespace

BOOST_AUTO_TEST_CASE(random_programs_keep_contents_counts_and_accounts) {
  std::uint64_t seed = 0;
  for (const pool_options& options :
       {pool_options{}, pool_options{.max_idle_bytes = 0}, pool_options{.max_idle_bytes = 300 * kib},
        pool_options{.max_blocks_per_chunk = 5}, pool_options{.max_blocks_per_chunk = 1, .max_idle_bytes = 0},
        pool_options{.max_bytes = 2 * mib}, pool_options{.max_blocks_per_chunk = 7, .max_bytes = mib},
        pool_options{.max_idle_blocks_per_bucket = 3}, pool_options{.zero_on_free = true}}) {
    for (const unsigned sizes : {3U, 40U, 60U}) {  // up to 32 bytes, 16 KiB, 512 KiB
      BOOST_TEST_CONTEXT("seed " << ++seed) {
        std::mt19937_64 random(seed);
        ground g(options);
        std::vector<user_block> live;
        std::size_t in_use_bytes = 0;
        std::size_t wanted = 0;
        for (std::size_t step = 0; step < scaled(6'000); ++step) {
          if (step % 500 == 0) wanted = below(random, 800);
          if (live.size() < wanted) {
            const auto index = static_cast<unsigned>(below(random, sizes));
            const std::size_t bytes = class_block_bytes(index);
            if (void* const block = g.try_allocate(index); block != nullptr) {
              live.push_back({block, bytes, cistern::detail::class_alignment(index),
                              static_cast<unsigned char>(random())});
              BOOST_REQUIRE(live.back().aligned());
              fill(live.back(), bytes);
              in_use_bytes += bytes;
            } else {
              BOOST_REQUIRE(options.max_bytes != no_limit);
            }
          } else if (!live.empty()) {
            std::swap(live[below(random, live.size())], live.back());
            BOOST_REQUIRE(filled(live.back(), live.back().bytes));
            g.free(live.back().ptr, live.back().bytes);
            in_use_bytes -= live.back().bytes;
            live.pop_back();
          }
          if (random() % 700 == 0) {
            const std::size_t before_bytes = g.upstream.outstanding_bytes();
            const std::size_t given_back = g.buckets.trim(below(random, mib));
            BOOST_REQUIRE(before_bytes - g.upstream.outstanding_bytes() == given_back);
          }
          if (step % 20 == 0) {
            g.check();
            BOOST_REQUIRE(g.statistics().in_use_bytes == in_use_bytes);
          }
        }
        BOOST_TEST(g.upstream.peak_bytes() <= options.max_bytes);
        for (const user_block& block : live) BOOST_REQUIRE(filled(block, block.bytes));
        for (const user_block& block : live) g.free(block.ptr, block.bytes);
        g.check();
        (void)g.buckets.trim(0);
        g.check();
        BOOST_TEST(g.upstream.outstanding_bytes() == 0U);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_miss_takes_a_batch_from_one_span) {
  ground g;
  const unsigned index = class_for(64);
  std::vector<std::size_t> batches;
  while (batches.size() < 6) {
    const std::vector<void*> first = g.allocate(1, 64);
    const std::size_t listed = length(g.buckets[index].head);
    batches.push_back(1 + listed);
    auto* expected = static_cast<std::byte*>(first[0]);
    for (std::size_t i = 0; i < listed; ++i) BOOST_TEST(g.allocate(1, 64)[0] == (expected += 64));
  }
  // The first spans have room for 12 and 24 blocks, the others, of a page, for 64: what one has left may be
  // less than a batch.
  BOOST_TEST((batches == std::vector<std::size_t>{4, 8, 16, 8, 64, 64}));
  BOOST_TEST(bucket_of(g.statistics(), 64).misses == 6U);
  BOOST_TEST(bucket_of(g.statistics(), 64).hits == 4U + 8 + 16 + 8 + 2 * 64 - 6);
  // No batch is larger than 8 KiB.
  for (const auto& [bytes, blocks] : {std::pair{std::size_t{1280}, 3U}, {3 * kib, 2U}, {16 * kib, 1U}}) {
    (void)g.allocate(1, bytes);
    BOOST_TEST(1 + length(g.buckets[class_for(bytes)].head) <= 8 * kib / bytes + (bytes > 8 * kib ? 1 : 0));
    BOOST_TEST(1 + length(g.buckets[class_for(bytes)].head) >= blocks);
  }
  g.check();
}

BOOST_AUTO_TEST_SUITE(leaving_whole)

BOOST_AUTO_TEST_CASE(a_large_class_without_a_live_block_leaves_its_list) {
  for (const std::size_t bytes : {std::size_t{16}, std::size_t{64}, std::size_t{1024}, 20 * kib}) {
    ground g;
    const std::vector<void*> blocks = g.allocate((bytes < 4 * kib ? 4 : 20) * mib / bytes, bytes);
    std::vector<void*> all_but_one = shuffled(blocks);
    void* const last = all_but_one.back();
    all_but_one.pop_back();
    g.free_all(all_but_one, bytes);
    BOOST_TEST((g.buckets[class_for(bytes)].head != nullptr));
    g.free(last, bytes);
    BOOST_TEST((g.buckets[class_for(bytes)].head == nullptr));
    BOOST_TEST(bucket_of(g.statistics(), bytes).depth == 0U);
    g.check();
    const std::uint64_t calls = g.upstream.allocations();
    // Its memory serves another size, and then its own again.
    const std::vector<void*> others = g.allocate(2 * mib / (100 * kib), 100 * kib);
    g.free_all(others, 100 * kib);
    (void)g.allocate(4 * mib / bytes - 64, bytes);  // but for what it began with, which went back
    BOOST_TEST(g.upstream.allocations() == calls);
    g.check();
  }
}

BOOST_AUTO_TEST_CASE(a_small_class_keeps_its_list) {
  ground g;
  const std::vector<void*> blocks = g.allocate(1000, 64);
  g.free_all(blocks, 64);
  for (std::size_t i = blocks.size(); i-- > 0;) BOOST_TEST(g.allocate(1, 64)[0] == blocks[i]);
}

// Nobody asks for such blocks once: what a request took and gave back the next one takes again.
BOOST_AUTO_TEST_CASE(a_few_blocks_with_pages_of_their_own_stay_at_hand) {
  for (const std::size_t bytes : {4 * kib, 16 * kib, 32 * kib, 64 * kib, 256 * kib}) {
    ground g;
    for (int round = 0; round < 5; ++round) {
      std::vector<void*> blocks = g.allocate(9, bytes);
      const std::uint64_t misses = bucket_of(g.statistics(), bytes).misses;
      g.free_all(blocks, bytes);
      BOOST_TEST(g.statistics().idle_in_lists_bytes >= 9 * bytes);
      blocks = g.allocate(9, bytes);
      BOOST_TEST(bucket_of(g.statistics(), bytes).misses == misses);
      g.free_all(blocks, bytes);
      g.check();
    }
  }
}

BOOST_AUTO_TEST_CASE(of_blocks_that_are_runs_a_sixteenth_of_what_may_be_idle_stays_at_hand) {
  ground g({.max_idle_bytes = 32 * mib});
  const std::vector<void*> blocks = g.allocate(40, 320 * kib);
  g.free_all(blocks, 320 * kib);
  BOOST_TEST(g.statistics().idle_in_lists_bytes == 6 * 320 * kib);
  g.check();
}

// Few blocks are free at the end, but each holds a span: these are what must go.
BOOST_AUTO_TEST_CASE(a_class_of_few_blocks_in_many_spans_leaves_whole_too) {
  ground g({.max_idle_bytes = 0});
  g.free_all(shuffled(g.allocate(8 * mib / 64, 64)), 64);
  BOOST_TEST((g.buckets[class_for(64)].head == nullptr));
  g.go_on(2'000, 100);
  BOOST_TEST(g.idle_bytes() <= mib);
  g.check();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(idle_bound)

BOOST_AUTO_TEST_CASE(no_free_does_more_than_a_step) {
  constexpr std::size_t most_regions = 64;  // 4 MiB, in regions of 64 KiB and more
  for (const std::size_t max_idle_bytes : {std::size_t{0}, mib, 8 * mib}) {
    for (const std::size_t bytes : {std::size_t{64}, std::size_t{1000}, 10 * kib, 100 * kib}) {
      ground g({.max_idle_bytes = max_idle_bytes});
      const std::vector<void*> blocks = shuffled(g.allocate(32 * mib / bytes, bytes));
      std::uint64_t most_calls = 0;
      for (void* block : blocks) {
        const std::uint64_t before = g.upstream.deallocations();
        g.free(block, bytes);
        most_calls = std::max(most_calls, g.upstream.deallocations() - before);
      }
      BOOST_TEST(most_calls <= most_regions);
      g.check();
      // What is left over is done while the pool is used on.
      g.go_on(4'000, bytes);
      const std::size_t a_region = 4 * mib;
      BOOST_TEST_INFO("bound " << max_idle_bytes << ", " << bytes << " bytes");
      BOOST_TEST(g.idle_bytes() <= max_idle_bytes + max_idle_bytes / 8 + a_region);
      g.check();
    }
  }
}

BOOST_AUTO_TEST_CASE(a_great_fall_of_many_sizes_comes_down_to_the_bound) {
  for (const std::size_t max_idle_bytes : {std::size_t{0}, mib, 8 * mib}) {
    for (const std::size_t survivors : {0U, 10U}) {
      std::mt19937_64 random(1);
      ground g({.max_idle_bytes = max_idle_bytes});
      std::vector<user_block> live;
      for (std::size_t sum = 0; sum < (sanitized ? 16 : 48) * mib; sum += live.back().bytes) {
        const std::size_t bytes = 16 + below(random, 1000);
        live.push_back({g.allocate(1, bytes)[0], bytes});
      }
      std::shuffle(live.begin(), live.end(), random);
      for (std::size_t i = survivors; i < live.size(); ++i) g.free(live[i].ptr, live[i].bytes);
      g.go_on(scaled(200'000), 100);
      if (sanitized) g.go_on(100'000, 100);
      // A survivor holds its span, and that a region; as does what the class in use keeps at hand.
      const std::size_t held_by_survivors = (survivors + 1) * (4 * mib);
      BOOST_TEST_INFO("bound " << max_idle_bytes << ", survivors " << survivors);
      BOOST_TEST(g.idle_bytes() <= max_idle_bytes + max_idle_bytes / 8 + mib + held_by_survivors);
      g.check();
    }
  }
}

BOOST_AUTO_TEST_CASE(few_large_blocks_go_by_unseen) {
  // Freed in order of allocation, beside one that lives on, so that nothing leaves whole.
  for (const std::size_t bytes : {4 * kib, 8 * kib, 32 * kib}) {
    ground g({.max_idle_bytes = 0});
    const std::vector<void*> blocks = g.allocate(32 * mib / bytes, bytes);
    std::size_t most_idle_bytes = 0;
    for (std::size_t i = 1; i < blocks.size(); ++i) {
      g.free(blocks[i], bytes);
      most_idle_bytes = std::max(most_idle_bytes, g.idle_bytes());
    }
    BOOST_TEST_INFO(bytes << " bytes");
    BOOST_TEST(most_idle_bytes <= 12 * mib);  // a region in parts, a few that a step was late with
    g.free(blocks[0], bytes);
  }
}

BOOST_AUTO_TEST_CASE(the_bucket_bound_holds_for_the_list) {
  for (const std::size_t most_blocks : {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{1000}}) {
    for (const std::size_t bytes : {std::size_t{16}, std::size_t{112}, 5 * kib}) {
      ground g({.max_idle_blocks_per_bucket = most_blocks});
      const std::vector<void*> blocks = shuffled(g.allocate(3'000, bytes));
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        g.free(blocks[i], bytes);
        if (i % 100 == 0) BOOST_REQUIRE(length(g.buckets[class_for(bytes)].head) <= most_blocks);
      }
      BOOST_TEST(length(g.buckets[class_for(bytes)].head) <= most_blocks);
      g.check();
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_class_in_use_keeps_a_least_stay_whatever_the_bound) {
  for (const std::size_t max_idle_bytes : {std::size_t{0}, mib}) {
    ground g({.max_idle_bytes = max_idle_bytes});
    // Much lies idle between survivors.
    const std::vector<void*> many = g.allocate(16 * mib / 200, 200);
    for (std::size_t i = 0; i < many.size(); ++i) {
      if (i % 20 != 0) g.free(many[i], 200);
    }
    for (const std::size_t bytes : {std::size_t{24}, std::size_t{1500}, 20 * kib}) {
      const std::size_t count = std::max<std::size_t>(60 * kib / class_block_bytes(class_for(bytes)), 2);
      g.free_all(g.allocate(count, bytes), bytes);
      const std::uint64_t calls = g.upstream_calls();
      for (int round = 0; round < 500; ++round) g.free_all(g.allocate(count, bytes), bytes);
      BOOST_TEST_INFO(bytes << " bytes, bound " << max_idle_bytes);
      BOOST_TEST(g.upstream_calls() <= calls + 4);  // what was left over of the great fall
    }
    g.check();
  }
}

BOOST_AUTO_TEST_CASE(sorting_leaves_as_much_in_a_list_as_it_is_told) {
  for (const std::size_t bytes : {std::size_t{64}, 1 * kib, 64 * kib}) {
    ground g;
    const unsigned index = class_for(bytes);
    const auto listed_blocks = [&] { return g.statistics().idle_in_lists_bytes / class_block_bytes(index); };
    std::vector<void*> blocks = g.allocate(9, bytes);
    blocks.pop_back();  // one lives on
    g.free_all(blocks, bytes);
    const std::size_t before = listed_blocks();
    BOOST_TEST_INFO(bytes << " bytes");
    BOOST_REQUIRE(before >= 8U);
    BOOST_TEST(g.buckets.sort(index, 2, 3).blocks == 3U);
    BOOST_TEST(listed_blocks() == before - 3);
    BOOST_TEST(g.buckets.sort(index, 2, SIZE_MAX).blocks == before - 5);
    BOOST_TEST(listed_blocks() == 2U);
    BOOST_TEST(g.buckets.sort(index, 2, SIZE_MAX).blocks == 0U);
    g.check();
  }
}

BOOST_AUTO_TEST_CASE(a_trim_keeps_as_much_as_it_is_told) {
  constexpr std::size_t a_region = 4 * mib;  // the largest
  ground g;
  const std::vector<void*> kept = g.allocate(2 * mib / 1000, 1000);
  g.free_all(g.allocate(16 * mib / 1000, 1000), 1000);
  for (const std::size_t keep_bytes : {SIZE_MAX, 8 * mib, 8 * mib, 5 * mib, std::size_t{0}}) {
    const std::size_t held = g.upstream.outstanding_bytes();
    const std::size_t given_back = g.buckets.trim(keep_bytes);
    BOOST_TEST(given_back == held - g.upstream.outstanding_bytes());
    BOOST_TEST(g.idle_bytes() >= std::min(keep_bytes - std::min(keep_bytes, a_region), 12 * mib));
    BOOST_TEST(g.idle_bytes() <= std::max(keep_bytes, 2 * a_region));
    g.check();
  }
  g.free_all(kept, 1000);
  (void)g.buckets.trim(0);
  BOOST_TEST(g.idle_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(steady_states_ask_nothing_of_upstream) {
  for (const std::size_t largest_bytes : {512U, 8'192U, 200'000U, 2'000'000U}) {
    std::mt19937_64 random(largest_bytes);
    ground g;
    std::vector<user_block> live(200);
    const auto replace_some = [&](std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) {
        user_block& place = live[below(random, live.size())];
        if (place.ptr != nullptr) g.free(place.ptr, place.bytes);
        place.bytes = 1 + below(random, largest_bytes);
        place.ptr = g.allocate(1, place.bytes)[0];
      }
    };
    replace_some(scaled(40'000));
    const std::uint64_t calls = g.upstream_calls();
    replace_some(scaled(40'000));
    BOOST_TEST_INFO("up to " << largest_bytes << " bytes");
    BOOST_TEST(g.upstream_calls() <= calls + scaled(40'000) / 1'000);
    g.check();
  }
}

BOOST_AUTO_TEST_CASE(freed_memory_is_overwritten_where_asked) {
  ground g({.zero_on_free = true});
  constexpr std::size_t link_bytes = 16;
  for (const std::size_t bytes : {std::size_t{32}, std::size_t{1000}, 100 * kib}) {
    const std::vector<void*> secrets = g.allocate(20, bytes);
    for (void* block : secrets) std::memset(block, 0x5a, bytes);
    g.free_all(secrets, bytes);
    for (void* block : g.allocate(20, bytes)) {
      const auto* const begin = static_cast<const unsigned char*>(block);
      if (std::find(secrets.begin(), secrets.end(), block) != secrets.end()) {  // else of memory that is new
        BOOST_TEST(std::all_of(begin + link_bytes, begin + bytes, [](unsigned char b) { return b != 0x5a; }));
      }
      g.free(block, bytes);
    }
  }
  g.check();
}

BOOST_AUTO_TEST_CASE(before_a_refusal_idle_memory_is_used_or_given_back) {
  for (const std::size_t max_blocks_per_chunk : {std::size_t{0}, std::size_t{10}}) {
    ground g({.max_blocks_per_chunk = max_blocks_per_chunk, .max_bytes = 2 * mib});
    for (const std::size_t bytes :
         {std::size_t{64}, std::size_t{1000}, std::size_t{24}, 100 * kib, std::size_t{3000}, mib}) {
      const std::vector<void*> blocks = shuffled(g.allocate(no_limit, bytes));
      BOOST_TEST_INFO(bytes << " bytes");
      // Ten blocks of 24 bytes take 384 with their records.
      const std::size_t percent = max_blocks_per_chunk == 0 || bytes >= 1000 ? 80 : 60;
      BOOST_TEST(blocks.size() * class_block_bytes(class_for(bytes)) >= 2 * mib * percent / 100 - bytes);
      g.check();
      BOOST_TEST((g.try_allocate(class_for(bytes)) == nullptr));
      const pool_statistics before = g.statistics();
      BOOST_TEST((g.try_allocate(class_for(bytes)) == nullptr));
      BOOST_TEST((g.statistics() == before));
      g.free_all(blocks, bytes);
    }
  }
}

BOOST_AUTO_TEST_CASE(release_gives_all_back_and_the_counts_go_on) {
  for (const std::size_t max_blocks_per_chunk : {std::size_t{0}, std::size_t{10}}) {
    ground g({.max_blocks_per_chunk = max_blocks_per_chunk});
    for (int round = 0; round < 3; ++round) {
      for (const std::size_t bytes : {std::size_t{16}, std::size_t{640}, 32 * kib, 40 * kib, 2 * mib}) {
        const std::vector<void*> blocks = g.allocate(30, bytes);
        for (std::size_t i = 0; i < 20; ++i) g.free(blocks[i], bytes);
      }
      BOOST_TEST(g.statistics().in_use_bytes == 10 * (16 + 640 + 72 * kib + 2 * mib));
      g.buckets.release();
      BOOST_TEST(g.upstream.outstanding_bytes() == 0U);
      BOOST_TEST(g.statistics().in_use_bytes + g.statistics().idle_bytes == 0U);
      g.check();
    }
    for (const cistern::bucket_statistics& row : g.statistics().buckets) {
      BOOST_TEST(row.hits + row.misses == 90U);
      BOOST_TEST(row.returned + row.discarded == 60U);
      BOOST_TEST(row.live_blocks + row.depth == 0U);
    }
  }
}
