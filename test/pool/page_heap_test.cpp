// Runs of pages for a pool: every page is in one run, what comes back is joined, and upstream's account is
// exact.
//
// Plan: 1. how large regions are; 2. a run is the shortest that fits, from its own pages; 3. neighbours join;
// 4. random programs beside a map of pages; 5. idle regions go back, the one that was idle for longest first;
// 6. runs alone; 7. alignment, of regions and of runs; 8. limits, and an upstream that throws; 9. release.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/pool/page_heap.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <memory_resource>
#include <new>
#include <optional>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/barely_aligned_resource.hpp"
#include "../support/pool_checks.hpp"
#include "../support/regions.hpp"
#include "../support/throwing_resource.hpp"

using cistern::detail::heap_region;
using cistern::detail::page_bytes;
using cistern::detail::page_heap;
using cistern::detail::span;
using cistern::detail::upstream_account;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

// An upstream that knows which regions it has given, in order, and which it got back.
class noting_resource : public std::pmr::memory_resource {
 public:
  explicit noting_resource(std::pmr::memory_resource* upstream) : upstream_(upstream) {}
  std::vector<std::size_t> asked_bytes;
  std::vector<std::byte*> given_back;
  std::map<std::byte*, std::size_t> regions;  // with their pages

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    asked_bytes.push_back(bytes);
    void* const memory = upstream_->allocate(bytes, alignment);
    regions.emplace(static_cast<std::byte*>(memory), pages_of_region(bytes));
    return memory;
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    given_back.push_back(static_cast<std::byte*>(memory));
    regions.erase(static_cast<std::byte*>(memory));
    upstream_->deallocate(memory, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::pmr::memory_resource* upstream_;
};

// A heap over an upstream that checks, notes, and fails where told.
struct ground {
  explicit ground(std::size_t max_bytes = SIZE_MAX) : account(&upstream, max_bytes) {}

  // A run, for which the heap grows where it must; null where `max_bytes` refuses.
  span* take(std::uint32_t pages, std::size_t alignment = page_bytes) {
    span* run = heap.try_take(pages, alignment);
    if (run == nullptr && heap.grow(pages, alignment)) run = heap.try_take(pages, alignment);
    return run;
  }
  std::vector<span*> take_many(std::size_t count, std::uint32_t pages) {
    std::vector<span*> runs(count);
    for (span*& run : runs) run = take(pages);
    return runs;
  }
  void give_all(const std::vector<span*>& runs) {
    for (span* run : runs) (void)heap.give(run, ++now);
  }
  void check() const {
    heap.check_invariants();
    BOOST_REQUIRE(heap.held_bytes() == checked.outstanding_bytes());
    BOOST_REQUIRE(account.bytes() == checked.outstanding_bytes());
  }

  barely_aligned_resource below;
  checking_resource checked{&below};
  noting_resource noting{&checked};
  failing_resource upstream{&noting};
  upstream_account account;
  page_heap heap{account};
  std::uint64_t now = 0;
};

// A run in use, with known content.
struct used_run {
  span* run;
  user_block block;
};

used_run use(span* run, unsigned char seed) {
  const used_run used{run, {run->base(), run->bytes() - run->begins_behind, page_bytes, seed}};
  cistern::detail::asan_unpoison(used.block.ptr, used.block.bytes);
  fill(used.block, used.block.bytes);
  return used;
}

// What the heap should have, by a map of the pages of each region.
class page_model {
 public:
  explicit page_model(const noting_resource& upstream) : upstream_(upstream) {}

  void take(const span* run) {
    std::vector<bool>& pages = pages_of(run->home()->base);
    const std::size_t first = static_cast<std::size_t>(run->base() - run->home()->base) / page_bytes;
    BOOST_REQUIRE(first + run->pages <= pages.size());
    for (std::size_t i = first; i < first + run->pages; ++i) {
      BOOST_REQUIRE_MESSAGE(!pages[i], "a page is given out twice");
      pages[i] = true;
    }
  }
  void give(const span* run) {
    std::vector<bool>& pages = pages_of(run->home()->base);
    const std::size_t first = static_cast<std::size_t>(run->base() - run->home()->base) / page_bytes;
    std::fill_n(pages.begin() + static_cast<std::ptrdiff_t>(first), run->pages, false);
  }
  void forget_what_went_back() {
    std::erase_if(in_use_, [&](const auto& each) { return !upstream_.regions.contains(each.first); });
  }

  // Lengths of the free runs, the shortest first.
  [[nodiscard]] std::vector<std::size_t> free_lengths() {
    std::vector<std::size_t> lengths;
    for (const auto& [base, count] : upstream_.regions) {
      std::size_t length = 0;
      for (const bool used : pages_of(base)) {
        if (used && length > 0) lengths.push_back(std::exchange(length, 0));
        length += used ? 0 : 1;
      }
      if (length > 0) lengths.push_back(length);
    }
    std::sort(lengths.begin(), lengths.end());
    return lengths;
  }
  [[nodiscard]] std::size_t idle_bytes() {
    std::size_t bytes = 0;
    for (const auto& [base, count] : upstream_.regions) {
      const std::vector<bool>& pages = pages_of(base);
      if (std::find(pages.begin(), pages.end(), true) == pages.end()) bytes += count * page_bytes;
    }
    return bytes;
  }

 private:
  std::vector<bool>& pages_of(std::byte* base) {
    const auto found = upstream_.regions.find(base);
    BOOST_REQUIRE((found != upstream_.regions.end()));
    std::vector<bool>& pages = in_use_[base];
    pages.resize(found->second);
    return pages;
  }

  const noting_resource& upstream_;
  std::map<std::byte*, std::vector<bool>> in_use_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(regions)

BOOST_AUTO_TEST_CASE(the_first_ones_are_small_and_the_later_ones_a_part_of_what_is_held) {
  ground g;
  (void)g.take_many(40'000, 1);
  const std::vector<std::size_t>& asked = g.noting.asked_bytes;
  BOOST_REQUIRE(asked.size() > 8U);
  for (const auto& [nth, pages] : {std::pair{0, 2}, {1, 2}, {2, 4}, {3, 8}, {4, 16}, {5, 16}}) {
    BOOST_TEST(asked[static_cast<std::size_t>(nth)] == region_bytes_of(static_cast<std::size_t>(pages)));
  }
  std::size_t held_bytes = 0;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (i >= 5) BOOST_TEST(asked[i] <= std::max(held_bytes / 3, region_bytes_of(16)));
    BOOST_TEST(asked[i] <= region_bytes_of(1024));
    held_bytes += asked[i];
  }
  BOOST_TEST(asked.back() == region_bytes_of(1024));
  g.check();
}

BOOST_AUTO_TEST_CASE(a_run_longer_than_usual_gets_a_region_of_its_own_length) {
  for (const std::uint32_t pages : {3U, 17U, 1000U, 5000U}) {
    ground g;
    span* const run = g.take(pages);
    BOOST_REQUIRE(run != nullptr);
    BOOST_TEST(g.noting.asked_bytes.back() == region_bytes_of(pages));
    BOOST_TEST(run->bytes() == pages * page_bytes);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(run->base()) % page_bytes == 0U);
    g.check();
  }
}

BOOST_AUTO_TEST_CASE(one_has_no_more_pages_than_the_caller_allows) {
  ground g;
  BOOST_REQUIRE(g.heap.grow(1'000));
  for (const auto& [pages, most, asked] :
       {std::tuple{1U, 3U, 3U}, {5U, 20U, 20U}, {5U, 3U, 5U}, {5U, 1'000U, 256U}}) {
    BOOST_REQUIRE(g.heap.grow(pages, page_bytes, most));
    BOOST_TEST(g.noting.asked_bytes.back() == region_bytes_of(asked));
  }
  g.check();
}

BOOST_AUTO_TEST_CASE(the_last_region_can_be_used_up) {
  ground g;
  const std::vector<span*> runs = g.take_many(2 + 2 + 4 + 8 + 16, 1);
  BOOST_TEST(g.heap.free_bytes() == 0U);
  BOOST_TEST((g.heap.try_take(1) == nullptr));
  g.give_all(runs);
  g.check();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(runs)

BOOST_AUTO_TEST_CASE(the_shortest_free_run_that_fits_is_taken) {
  ground g;
  // Free runs of 1 to 20 pages, each between pages in use.
  std::vector<span*> holes;
  BOOST_REQUIRE(g.heap.grow(300));
  for (std::uint32_t pages = 20; pages >= 1; --pages) {
    holes.push_back(g.take(pages));
    (void)g.take(1);
  }
  const std::uint32_t left = 300 - 20 - 210;
  (void)g.take(left);
  BOOST_TEST(g.heap.free_bytes() == 0U);
  g.give_all(holes);
  BOOST_TEST(g.heap.free_bytes() == 210 * page_bytes);
  for (std::uint32_t pages = 1; pages <= 20; ++pages) {
    BOOST_TEST((g.heap.try_take(pages) == holes[20 - pages]));
    g.check();
  }
  BOOST_TEST((g.heap.try_take(1) == nullptr));
}

BOOST_AUTO_TEST_CASE(the_rest_of_a_longer_run_stays_free) {
  ground g;
  BOOST_REQUIRE(g.heap.grow(100));
  span* const first = g.heap.try_take(30);
  span* const second = g.heap.try_take(30);
  BOOST_TEST(second->base() == first->base() + 30 * page_bytes);
  BOOST_TEST(g.heap.free_bytes() == 40 * page_bytes);
  BOOST_TEST((g.heap.try_take(41) == nullptr));
  span* const third = g.heap.try_take(40);
  BOOST_TEST(third->base() == second->base() + 30 * page_bytes);
  g.check();
}

BOOST_AUTO_TEST_CASE(neighbours_join_in_whatever_order_they_come_back) {
  std::vector<std::size_t> order{0, 1, 2, 3, 4};
  do {
    ground g;
    BOOST_REQUIRE(g.heap.grow(25));
    const std::vector<span*> runs = g.take_many(5, 5);
    for (const std::size_t i : order) {
      BOOST_TEST(g.heap.give(runs[i], ++g.now) == 0U);
      g.check();  // no two free runs lie side by side
    }
    BOOST_TEST((g.heap.try_take(25) == runs[0]));
    BOOST_TEST(g.noting.asked_bytes.size() == 1U);
  } while (std::next_permutation(order.begin(), order.end()));
}

BOOST_AUTO_TEST_CASE(runs_of_different_regions_never_join) {
  ground g;
  const std::vector<span*> runs = g.take_many(200, 3);
  g.give_all(runs);
  g.check();
  const std::size_t largest_pages =
      std::max_element(g.noting.regions.begin(), g.noting.regions.end(), [](const auto& a, const auto& b) {
        return a.second < b.second;
      })->second;
  BOOST_TEST((g.heap.try_take(static_cast<std::uint32_t>(largest_pages) + 1) == nullptr));
  BOOST_TEST((g.heap.try_take(static_cast<std::uint32_t>(largest_pages)) != nullptr));
}

BOOST_AUTO_TEST_CASE(the_run_of_an_address_is_found) {
  ground g;
  BOOST_REQUIRE(g.heap.grow(20));
  span* const first = g.heap.try_take(5);
  span* const second = g.heap.try_take(1);
  span* const third = g.heap.try_take(7);
  for (span* run : {first, second, third}) {
    BOOST_TEST((g.heap.span_of(run->base()) == run));
    BOOST_TEST((g.heap.find(run->base()) == run));
    BOOST_TEST((g.heap.find(run->base() + run->bytes() - 1) == run));
  }
  BOOST_TEST((g.heap.find(third->base() + third->bytes()) == nullptr));  // free
  BOOST_TEST((g.heap.find(first->base() - 1) == nullptr));
  BOOST_TEST((g.heap.find(&g) == nullptr));
  std::byte* const gone = second->base();
  (void)g.heap.give(second, 1);
  BOOST_TEST((g.heap.find(gone) == nullptr));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(random_programs_keep_every_page_in_one_run) {
  constexpr std::uint8_t run_index = 77;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      ground g(seed % 4 == 0 ? std::size_t{3} << 20 : SIZE_MAX);
      page_model model(g.noting);
      std::vector<used_run> live;
      const std::size_t most_live = 20 + below(random, 150);
      const std::size_t longest = seed % 2 == 0 ? 12 : 200;
      for (std::size_t step = 0; step < scaled(1'500); ++step) {
        if (live.size() < most_live && random() % 5 < 3) {
          const auto pages = static_cast<std::uint32_t>(1 + below(random, longest));
          const std::vector<std::size_t> lengths = model.free_lengths();
          const auto fitting = std::lower_bound(lengths.begin(), lengths.end(), std::size_t{pages});
          span* run = g.heap.try_take(pages);
          if (fitting == lengths.end()) {
            BOOST_REQUIRE((run == nullptr));
          } else if (*fitting <= 16) {  // the best one, exactly
            BOOST_REQUIRE(run != nullptr);
          } else if (lengths.back() >= pages + pages / 4 + 1) {
            BOOST_REQUIRE(run != nullptr);  // long enough to lie in a bin above
          }
          if (run == nullptr && g.heap.grow(pages)) {
            run = g.heap.try_take(pages);
            BOOST_REQUIRE(run != nullptr);
          }
          if (run != nullptr) {
            BOOST_REQUIRE(run->pages == pages);
            model.take(run);
            if (fitting != lengths.end() && *fitting <= 16) {
              // Taking it shortened just one of the shortest that fit.
              std::vector<std::size_t> expected = lengths;
              expected.erase(expected.begin() + (fitting - lengths.begin()));
              if (*fitting > pages) expected.push_back(*fitting - pages);
              std::sort(expected.begin(), expected.end());
              BOOST_REQUIRE((model.free_lengths() == expected));
            }
            run->index = run_index;
            live.push_back(use(run, static_cast<unsigned char>(random())));
            BOOST_REQUIRE(g.heap.is_run_in_use(run_index, run->base()));
            BOOST_REQUIRE(!g.heap.is_run_in_use(run_index + 1, run->base()));
            BOOST_REQUIRE(!g.heap.is_run_in_use(run_index, run->base() + 16));
            if (cistern::detail::hardened_build) {  // else records of pages that begin none say nothing
              for (std::uint32_t page = 1; page < pages; ++page) {
                BOOST_REQUIRE(!g.heap.is_run_in_use(run_index, run->base() + page * page_bytes));
              }
            }
          }
        } else if (!live.empty()) {
          std::swap(live[below(random, live.size())], live.back());
          BOOST_REQUIRE(filled(live.back().block, live.back().block.bytes));
          model.give(live.back().run);
          BOOST_REQUIRE(g.heap.give(live.back().run, ++g.now) == 0U);
          BOOST_REQUIRE(!g.heap.is_run_in_use(run_index, live.back().block.ptr));
          live.pop_back();
        }
        if (random() % 100 == 0) (void)g.heap.give_back_oldest();
        model.forget_what_went_back();
        g.check();
        BOOST_REQUIRE(g.heap.idle_regions_bytes() == model.idle_bytes());
        std::size_t free_pages = 0;
        for (const std::size_t length : model.free_lengths()) free_pages += length;
        BOOST_REQUIRE(g.heap.free_bytes() == free_pages * page_bytes);
      }
      for (const used_run& each : live) {
        BOOST_REQUIRE(filled(each.block, each.block.bytes));
        (void)g.heap.give(each.run, ++g.now);
      }
      g.check();
      BOOST_TEST(g.heap.idle_regions_bytes() == g.heap.pages_bytes());
      BOOST_TEST(g.heap.free_bytes() == g.heap.pages_bytes());
      while (g.heap.give_back_oldest() != 0) g.check();
      BOOST_TEST(g.checked.outstanding_bytes() == 0U);
    }
  }
}

BOOST_AUTO_TEST_SUITE(idle_regions)

BOOST_AUTO_TEST_CASE(the_one_that_was_idle_for_longest_goes_first) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20; ++round) {
    ground g;
    std::vector<span*> runs;  // one a region
    for (std::uint32_t i = 0; i < 8; ++i) {
      BOOST_REQUIRE(g.heap.grow(20U << i));
      runs.push_back(g.heap.try_take(20U << i));
    }
    BOOST_TEST(g.heap.oldest_idle_since() == UINT64_MAX);
    BOOST_TEST(g.heap.give_back_oldest() == 0U);
    std::shuffle(runs.begin(), runs.end(), random);
    std::vector<std::byte*> expected;
    for (span* run : runs) {
      expected.push_back(run->base());
      (void)g.heap.give(run, ++g.now);
    }
    // One is used again, and comes back as the youngest; another stays in use.
    const std::uint32_t again_pages = runs[3]->pages;
    span* const again = g.heap.try_take(again_pages);
    BOOST_REQUIRE((again == runs[3]));
    (void)g.heap.give(again, ++g.now);
    std::rotate(expected.begin() + 3, expected.begin() + 4, expected.end());
    const std::uint32_t used_pages = runs[5]->pages;
    BOOST_REQUIRE((g.heap.try_take(used_pages) == runs[5]));
    expected.erase(std::find(expected.begin(), expected.end(), runs[5]->base()));
    g.check();
    BOOST_TEST(g.heap.oldest_idle_since() == 1U + (expected.front() == runs[0]->base() ? 0U : 1U));
    for (std::byte* const next : expected) {
      const std::size_t held_before = g.heap.held_bytes();
      const std::size_t given_back = g.heap.give_back_oldest();
      BOOST_TEST(given_back == held_before - g.heap.held_bytes());
      BOOST_TEST((g.noting.given_back.back() == next));
      g.check();
    }
    BOOST_TEST(g.heap.give_back_oldest() == 0U);
    BOOST_TEST(g.heap.oldest_idle_since() == UINT64_MAX);
  }
}

BOOST_AUTO_TEST_CASE(a_region_with_a_page_in_use_is_not_idle) {
  ground g;
  BOOST_REQUIRE(g.heap.grow(50));
  BOOST_TEST(g.heap.idle_regions_bytes() == 50 * page_bytes);
  span* const run = g.heap.try_take(1);
  BOOST_TEST(g.heap.idle_regions_bytes() == 0U);
  BOOST_TEST(g.heap.give_back_oldest() == 0U);
  (void)g.heap.give(run, 7);
  BOOST_TEST(g.heap.oldest_idle_since() == 7U);
  BOOST_TEST(g.heap.give_back_oldest() == region_bytes_of(50));
  BOOST_TEST(g.checked.outstanding_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(pages_beside_used_ones_are_discarded_once_nothing_came_back_for_longer_than_the_age) {
  upstream_account account(cistern::pages(), SIZE_MAX, true);
  page_heap heap(account);
  BOOST_REQUIRE(heap.grow(64));
  BOOST_REQUIRE((heap.try_take(1) != nullptr));
  (void)heap.give(heap.try_take(40), 100);
  // Each region in turn, and then the turn begins anew.
  const auto discard = [&](std::uint64_t now, std::uint64_t age) {
    const std::size_t bytes = heap.discard_next(now, age);
    BOOST_TEST(heap.discard_next(now, age) == 0U);
    return bytes;
  };
  BOOST_TEST(discard(110, 10) == 0U);
  BOOST_TEST(discard(111, 11) == 0U);
  BOOST_TEST(heap.discardable_bytes() == 40 * page_bytes);
  BOOST_TEST(heap.untouched_bytes() == heap.free_bytes() - 40 * page_bytes);
  BOOST_TEST(discard(111, 10) == 40 * page_bytes);  // the others nobody has had
  BOOST_TEST(heap.discardable_bytes() == 0U);
  BOOST_TEST(heap.untouched_bytes() == heap.free_bytes());
  BOOST_TEST(discard(211, 10) == 0U);  // they are as new
  heap.check_invariants();
}

BOOST_AUTO_TEST_CASE(what_is_discardable_lies_beside_runs_in_use_and_is_worth_a_call) {
  upstream_account account(cistern::pages(), SIZE_MAX, true);
  page_heap heap(account);
  BOOST_REQUIRE(heap.grow(64));
  span* const first = heap.try_take(15);
  span* const second = heap.try_take(16);
  span* const third = heap.try_take(16);
  span* const last = heap.try_take(17);
  BOOST_TEST(heap.untouched_bytes() == 0U);
  (void)heap.give(first, 1);
  BOOST_TEST(heap.discardable_bytes() == 0U);
  (void)heap.give(third, 2);
  BOOST_TEST(heap.discardable_bytes() == 16 * page_bytes);
  (void)heap.give(second, 3);
  BOOST_TEST(heap.discardable_bytes() == 47 * page_bytes);
  BOOST_TEST(heap.discard_next(5, 1) == 47 * page_bytes);
  heap.check_invariants();
  // Of a part that is taken and comes back only that has been used.
  (void)heap.give(heap.try_take(20), 6);
  BOOST_TEST(heap.discardable_bytes() == 20 * page_bytes);
  heap.check_invariants();
  (void)heap.give(last, 7);
  BOOST_TEST(heap.discardable_bytes() == 0U);  // the region can go back as it is
  BOOST_TEST(heap.untouched_bytes() == 27 * page_bytes);
  heap.check_invariants();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(alone)

BOOST_AUTO_TEST_CASE(a_run_alone_takes_a_record_more_and_goes_back_at_once) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{64}, std::size_t{65}, std::size_t{1000},
                                  std::size_t{4096}, std::size_t{100'000}}) {
    for (const std::size_t alignment : {std::size_t{8}, std::size_t{64}, std::size_t{4096}}) {
      ground g;
      span* const run = g.heap.try_take_alone(bytes, 1, alignment);
      const std::size_t whole_bytes = (bytes + 15) / 16 * 16;
      BOOST_TEST_CONTEXT(bytes << " bytes aligned to " << alignment) {
        BOOST_TEST(run->bytes() == whole_bytes);
        BOOST_TEST(g.checked.outstanding_bytes() == whole_bytes + sizeof(heap_region) + sizeof(span));
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(run->base()) % alignment == 0U);
        BOOST_TEST((g.heap.span_of(run->base()) == run));
        BOOST_TEST((g.heap.find(run->base() + whole_bytes - 1) == run));
        BOOST_TEST((g.heap.find(run->base() + whole_bytes) == nullptr));
        BOOST_TEST(g.heap.idle_regions_bytes() == 0U);
        BOOST_TEST(g.heap.free_bytes() == 0U);
        g.check();
        BOOST_TEST(g.heap.give(run, 1) == whole_bytes);
        BOOST_TEST(g.checked.outstanding_bytes() == 0U);
        g.check();
      }
    }
  }
}

// malloc serves an alignment that it doesn't give by itself several times slower.
BOOST_AUTO_TEST_CASE(over_new_delete_a_run_alone_asks_for_little_alignment) {
  upstream_account account(std::pmr::new_delete_resource(), SIZE_MAX);
  page_heap heap(account);
  std::vector<span*> runs;
  for (const std::size_t alignment : {8U, 16U, 32U, 64U, 128U, 4096U}) {
    for (int i = 0; i < 8; ++i) {
      span* const run = heap.try_take_alone(96, 3, alignment);
      runs.push_back(run);
      BOOST_TEST(reinterpret_cast<std::uintptr_t>(run->base()) % alignment == 0U);
      BOOST_TEST(run->home()->alignment == (alignment <= 64 ? 16U : alignment));
      BOOST_TEST(run->base() + 3 * 96 <= run->home()->base + run->bytes());
      BOOST_TEST(run->bytes() == 3 * 96 + (alignment == 32 || alignment == 64 ? alignment - 16 : 0U));
    }
  }
  heap.check_invariants();
  for (span* const run : runs) (void)heap.give(run, 1);
  BOOST_TEST(account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(runs_alone_lie_among_the_others) {
  ground g;
  std::mt19937_64 random(1);
  std::vector<used_run> live;
  for (int step = 0; step < 2'000; ++step) {
    if (live.size() < 100 || random() % 2 == 0) {
      span* const run = random() % 2 == 0 ? g.take(static_cast<std::uint32_t>(1 + below(random, 10)))
                                          : g.heap.try_take_alone(100 + below(random, 20'000), 1, 64);
      live.push_back(use(run, static_cast<unsigned char>(random())));
    } else {
      std::swap(live[below(random, live.size())], live.back());
      BOOST_REQUIRE(filled(live.back().block, live.back().block.bytes));
      BOOST_REQUIRE((g.heap.span_of(live.back().block.ptr) == live.back().run));
      const std::size_t held_before = g.checked.outstanding_bytes();
      const bool is_alone = live.back().run->home()->is_one_run;
      BOOST_REQUIRE((g.heap.give(live.back().run, ++g.now) != 0) == is_alone);
      BOOST_REQUIRE((g.checked.outstanding_bytes() != held_before) == is_alone);
      live.pop_back();
    }
    g.check();
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(alignment)

BOOST_AUTO_TEST_CASE(small_regions_are_aligned_as_their_first_user_needs_it) {
  for (const auto& [pages, wanted, asked] :
       {std::tuple{2U, 16U, 64U}, {2U, 64U, 64U}, {8U, 256U, 256U}, {8U, 4096U, 4096U}, {9U, 64U, 4096U}}) {
    ground g;
    BOOST_REQUIRE(g.heap.grow(pages, wanted));
    BOOST_TEST(g.checked.largest_alignment() == asked);
  }
  checking_resource upstream;
  upstream_account of_pages(&upstream, SIZE_MAX, true);
  page_heap heap(of_pages);
  BOOST_REQUIRE(heap.grow(2, 64));
  BOOST_TEST(upstream.largest_alignment() == page_bytes);  // or free runs couldn't be discarded
}

BOOST_AUTO_TEST_CASE(a_run_may_be_more_aligned_than_its_region) {
  for (std::size_t aligned = 64; aligned <= page_bytes; aligned *= 2) {
    ground g;
    BOOST_REQUIRE(g.heap.grow(8, 64));
    span* const first = g.heap.try_take(1, 64);
    span* const second = g.heap.try_take(2, aligned);
    BOOST_TEST_CONTEXT("aligned to " << aligned) {
      BOOST_TEST(first->base() == first->home()->base);
      BOOST_TEST(reinterpret_cast<std::uintptr_t>(second->base()) % aligned == 0U);
      const std::size_t usable_bytes = second->bytes() - second->begins_behind;
      BOOST_TEST(usable_bytes >= 2 * page_bytes - (aligned <= 1024 ? 1024 : 0));
      BOOST_TEST(second->pages == (aligned <= 1024 ? 2U : 3U));
      BOOST_TEST((g.heap.span_of(second->base()) == second));
      BOOST_TEST((g.heap.find(second->base() + usable_bytes - 1) == second));
      g.check();
      g.give_all({first, second});
      g.check();
      span* const whole = g.heap.try_take(8, 64);
      BOOST_REQUIRE((whole == first));
      BOOST_TEST(whole->base() == whole->home()->base);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_run_keeps_its_place_when_it_is_made_longer_or_shorter) {
  for (const std::size_t regions_alignment : {std::size_t{64}, page_bytes}) {
    ground g;
    BOOST_REQUIRE(g.heap.grow(8, regions_alignment));
    span* const run = g.heap.try_take(2);
    std::byte* const base = run->base();
    const std::uint32_t more = run->pages - 2;
    BOOST_TEST(more == (regions_alignment == 64 ? 1U : 0U));
    for (const std::uint32_t pages : {5U, 1U, 1U, 7U - more, 2U}) {
      BOOST_REQUIRE(g.heap.try_resize(run, pages, ++g.now));
      BOOST_TEST(run->pages == pages + more);
      BOOST_TEST(g.heap.free_bytes() == (8 - pages - more) * page_bytes);
      BOOST_TEST(run->base() == base);
      g.check();
    }
    BOOST_TEST(!g.heap.try_resize(run, 9 - more, ++g.now));
    BOOST_TEST(run->pages == 2 + more);
    span* const behind = g.heap.try_take(1, 64);
    BOOST_TEST(!g.heap.try_resize(run, 3, ++g.now));
    g.give_all({run, behind});
    g.check();
    BOOST_TEST(g.heap.idle_regions_bytes() == 8 * page_bytes);
  }
}

BOOST_AUTO_TEST_CASE(a_run_is_there_only_where_it_can_be_aligned) {
  ground g;
  BOOST_REQUIRE(g.heap.grow(8, 64));
  for (const auto& [pages, aligned, is_there] :
       {std::tuple{8U, 64U, true}, {8U, 1024U, true}, {8U, 2048U, false}, {7U, 4096U, true}}) {
    BOOST_TEST(g.heap.has_run(pages, aligned) == is_there);
  }
  // One of the same length in an aligned region is found behind it.
  BOOST_REQUIRE(g.heap.grow(8, page_bytes));
  span* const unaligned = g.heap.try_take(8, 64);
  span* const other = g.heap.try_take(8, 64);
  g.give_all({unaligned, other});
  g.give_all({g.heap.try_take(8, 64)});  // whichever was given last is first
  BOOST_TEST(g.heap.has_run(8, page_bytes));
  span* const found = g.heap.try_take(8, page_bytes);
  BOOST_TEST(found->begins_behind == 0U);
  BOOST_TEST((g.heap.try_take(8, 64) != nullptr));
}

BOOST_AUTO_TEST_CASE(random_programs_with_alignments) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      ground g;
      page_model model(g.noting);
      std::vector<used_run> live;
      for (std::size_t step = 0; step < scaled(1'500); ++step) {
        // Few at a time: the heap stays small, so that it grows by small regions.
        if (live.size() < 8 && random() % 2 == 0) {
          const auto pages = static_cast<std::uint32_t>(1 + below(random, 4));
          const std::size_t aligned = std::size_t{16} << below(random, 9);
          const bool has_one = g.heap.has_run(pages, aligned);
          const std::size_t asked_before = g.noting.asked_bytes.size();
          span* const run = g.take(pages, aligned);
          BOOST_REQUIRE(run != nullptr);
          BOOST_REQUIRE(has_one == (g.noting.asked_bytes.size() == asked_before));
          BOOST_REQUIRE(run->pages >= pages);
          BOOST_REQUIRE(reinterpret_cast<std::uintptr_t>(run->base()) % aligned == 0U);
          model.take(run);
          live.push_back(use(run, static_cast<unsigned char>(random())));
        } else if (!live.empty()) {
          std::swap(live[below(random, live.size())], live.back());
          BOOST_REQUIRE(filled(live.back().block, live.back().block.bytes));
          model.give(live.back().run);
          (void)g.heap.give(live.back().run, ++g.now);
          live.pop_back();
        }
        if (random() % 10 == 0) (void)g.heap.give_back_oldest();
        model.forget_what_went_back();
        g.check();
      }
      BOOST_TEST(std::count_if(g.noting.asked_bytes.begin(), g.noting.asked_bytes.end(),
                               [](std::size_t bytes) { return bytes <= region_bytes_of(8); }) >= 2);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(refusals)

BOOST_AUTO_TEST_CASE(max_bytes_is_used_to_the_last_run_that_fits) {
  ground g(region_bytes_of(64) + region_bytes_of(5));
  (void)g.take(64);
  BOOST_TEST(!g.heap.grow(6));
  g.check();
  BOOST_TEST(g.heap.grow(1));  // 16 pages would be usual: 8, then 4
  BOOST_TEST(g.noting.asked_bytes.back() == region_bytes_of(4));
  g.check();
  BOOST_TEST(!g.heap.grow(1));
  BOOST_TEST((g.heap.try_take_alone(page_bytes, 1, 64) == nullptr));
  BOOST_TEST((g.heap.try_take_alone(page_bytes - 64, 1, 64) != nullptr));
  g.check();
}

BOOST_AUTO_TEST_CASE(an_upstream_that_refuses_is_asked_for_less) {
  ground g;
  const std::vector<span*> runs = g.take_many(64, 1);
  const std::size_t before = g.noting.asked_bytes.size();
  g.upstream.fail_nth(1);
  BOOST_TEST(g.heap.grow(1));
  BOOST_TEST(g.noting.asked_bytes.size() == before + 1);
  BOOST_TEST(g.noting.asked_bytes.back() == region_bytes_of(8));
  g.upstream.fail_from_nth(1);
  const std::uint64_t attempts = g.upstream.attempts();
  BOOST_CHECK_THROW((void)g.heap.grow(3), std::bad_alloc);
  BOOST_TEST(g.upstream.attempts() == attempts + 4);  // 16, 8, 4 and 3 pages
  g.check();
  BOOST_CHECK_THROW((void)g.heap.try_take_alone(100, 1, 64), std::bad_alloc);
  g.check();
  g.upstream.disarm();
  g.give_all(runs);
}

BOOST_AUTO_TEST_CASE(a_run_alone_is_made_shorter_where_it_is_refused) {
  constexpr std::size_t records_bytes = sizeof(heap_region) + sizeof(span);
  ground g(400 + records_bytes);
  BOOST_TEST((g.heap.try_take_alone(401, 3, 64) == nullptr));
  span* const limited = g.heap.try_take_alone(100, 64, 64);  // then 32, 16, 8, and 4
  BOOST_REQUIRE(limited != nullptr);
  BOOST_TEST(limited->bytes() == 400U);
  (void)g.heap.give(limited, 1);
  g.check();

  ground unlimited;
  unlimited.upstream.fail_nth(1);
  BOOST_TEST(unlimited.heap.try_take_alone(100, 8, 64)->bytes() == 400U);
  const std::uint64_t attempts = unlimited.upstream.attempts();
  unlimited.upstream.fail_from_nth(1);
  BOOST_CHECK_THROW((void)unlimited.heap.try_take_alone(100, 8, 64), std::bad_alloc);
  BOOST_TEST(unlimited.upstream.attempts() == attempts + 4);  // 8, 4, 2, 1
  unlimited.check();
}

BOOST_AUTO_TEST_CASE(another_exception_passes_at_once) {
  checking_resource checked;
  throwing_resource upstream(5, &checked);
  upstream_account account(&upstream, SIZE_MAX);
  page_heap heap(account);
  for (int i = 0; i < 5; ++i) BOOST_REQUIRE(heap.grow(16));
  BOOST_CHECK_THROW((void)heap.grow(1), unusual_error);
  heap.check_invariants();
  BOOST_TEST(heap.held_bytes() == checked.outstanding_bytes());
  BOOST_TEST(heap.grow(1));
}

BOOST_AUTO_TEST_CASE(an_upstream_that_throws_at_any_call_changes_nothing) {
  using cistern::testing::failure_mode;
  for (const auto mode : {failure_mode::once, failure_mode::from_then_on}) {
    ground g;
    const auto result = cistern::testing::fail_every_allocation(
        g.upstream,
        [&] {
          std::vector<used_run> live;
          try {
            for (std::uint32_t i = 0; i < 60; ++i) {
              span* const run = i % 7 == 6 ? g.heap.try_take_alone(i * 1000, 1, 64) : g.take(1 + i % 20);
              live.push_back(use(run, static_cast<unsigned char>(i)));
            }
          } catch (const std::bad_alloc&) {
            for (const used_run& each : live) {
              BOOST_REQUIRE(filled(each.block, each.block.bytes));
              (void)g.heap.give(each.run, ++g.now);
            }
            while (g.heap.give_back_oldest() != 0) {
            }
            throw;
          }
          g.check();
          g.heap.release();
        },
        [&](std::uint64_t) {
          g.check();
          BOOST_REQUIRE(g.checked.outstanding_bytes() == 0U);
        },
        {.mode = mode});
    BOOST_TEST(result.failed_runs > 5U);
    BOOST_TEST((result.absorbed_runs > 0U) == (mode == failure_mode::once));
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(release_gives_all_back_and_the_heap_goes_on) {
  ground g;
  for (int round = 0; round < 3; ++round) {
    const std::vector<span*> runs = g.take_many(50, 3);
    (void)g.heap.try_take_alone(5'000, 1, 64);
    for (std::size_t i = 0; i < runs.size(); i += 2) (void)g.heap.give(runs[i], ++g.now);
    BOOST_REQUIRE(g.heap.grow(1'000));
    g.check();
    g.heap.release();
    g.check();
    BOOST_TEST(g.checked.outstanding_bytes() == 0U);
    BOOST_TEST(g.heap.free_bytes() + g.heap.pages_bytes() + g.heap.idle_regions_bytes() == 0U);
    BOOST_TEST((g.heap.try_take(1) == nullptr));
    BOOST_TEST(g.heap.give_back_oldest() == 0U);
  }
}
