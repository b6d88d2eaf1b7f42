// The policy of what is idle, over a sorter that only counts. Plan: runs come from what is idle first; before
// the heap grows, lists are sorted, in proportion; nobody is asked to sort where nothing is listed; a class
// that got blocks back meanwhile is told so; upstream's refusal and the limit are met by giving back what is
// idle; spans that left join in steps; settling goes by age, in steps, and leaves the least stay; shrinking.
#include <cistern/detail/base/no_lock.hpp>
#include <cistern/detail/base/reentrant_mutex.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/span_supply.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <new>
#include <vector>

#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/pool_parts.hpp"
#include "../support/regions.hpp"

using cistern::pool_options;
using cistern::detail::class_of;
using cistern::detail::listed_blocks;
using cistern::detail::page_bytes;
using cistern::detail::sorted_blocks;
using cistern::detail::span;
using cistern::detail::span_list;
using cistern::test_support::pool_ground;

namespace {

constexpr unsigned class_64 = class_of(63);
constexpr unsigned class_1k = class_of(1023);
constexpr std::size_t mib = std::size_t{1} << 20;

const auto never = [] { return false; };

/// Lists that are numbers. What is sorted away is gone, or frees `held` when the list is empty.
template <class Lock>
class counting_sorter {
 public:
  using supply_type = cistern::detail::span_supply<counting_sorter, Lock>;

  sorted_blocks sort(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept {
    ++calls;
    std::size_t& blocks = lists[index];
    const std::size_t taken = std::min(blocks - std::min(blocks, keep_blocks), most_blocks);
    blocks -= taken;
    sorted[index] += taken;
    most_at_once = std::max(most_at_once, taken);
    supply->listed().note(index, blocks, true);
    if (taken != 0 && !held.empty()) {
      supply->give(held.back());
      held.pop_back();
    }
    return {.blocks = taken, .visits = (taken + blocks_per_visit - 1) / blocks_per_visit};
  }
  std::size_t discard(unsigned /*index*/) noexcept { return 0; }
  static bool flush_caches() noexcept { return false; }
  void list(unsigned index, std::size_t blocks) {
    lists[index] = blocks;
    supply->listed().note(index, blocks, true);
    supply->listed().tick(0);
    supply->listed().use(index);
  }

  supply_type* supply = nullptr;
  std::size_t blocks_per_visit = 1;
  std::array<std::size_t, listed_blocks::most_classes> lists{};
  std::array<std::size_t, listed_blocks::most_classes> sorted{};
  std::vector<span*> held;  ///< Given back one by one, by each sorting.
  std::size_t calls = 0;
  std::size_t most_at_once = 0;
};

template <class Lock>
struct fixture : pool_ground {
  explicit fixture(const pool_options& asked = {}) : pool_ground(asked) { sorter.supply = &supply; }
  ~fixture() {
    supply.check_invariants();
    supply.release();
  }
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;

  span* take(std::uint32_t pages) { return supply.try_take(pages, pages, never); }

  counting_sorter<Lock> sorter;
  typename counting_sorter<Lock>::supply_type supply{options, account, sorter};
};
using single = fixture<cistern::detail::no_lock>;
using locks = boost::mpl::list<cistern::detail::no_lock, cistern::detail::reentrant_mutex>;

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(what_is_idle_is_taken_before_upstream_is_asked, Lock, locks) {
  fixture<Lock> f;
  span* const run = f.take(10);
  BOOST_REQUIRE(run != nullptr);
  BOOST_TEST(run->pages == 10U);
  const auto calls = f.upstream.allocations();
  f.supply.give(run);
  BOOST_TEST(f.take(10) == run);
  BOOST_TEST(f.upstream.allocations() == calls);
  BOOST_TEST(f.sorter.calls == 0U);  // nothing is listed
  f.supply.give(run);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(what_upstream_is_asked_for_at_once_has_no_more_blocks_than_may_be, Lock,
                              locks) {
  fixture<Lock> f({.max_blocks_per_chunk = 3});
  std::vector<span*> runs;
  for (int i = 0; i < 50; ++i) runs.push_back(f.take(10));
  const std::size_t most_bytes = cistern::test_support::region_bytes_of(3 * 10);
  BOOST_TEST(f.upstream.largest_request_bytes() <= most_bytes);
  BOOST_TEST(f.upstream.largest_request_bytes() > most_bytes * 2 / 3);
  for (span* const run : runs) f.supply.give(run);
}

BOOST_AUTO_TEST_CASE(a_shorter_run_will_do_where_the_caller_says_so) {
  single f;
  span* const run = f.take(8);
  f.supply.give(run);
  BOOST_TEST(f.supply.try_take_idle(1000, 9) == nullptr);
  span* const shorter = f.supply.try_take_idle(1000, 8);
  BOOST_REQUIRE(shorter != nullptr);
  f.supply.give(shorter);
}

BOOST_AUTO_TEST_CASE(before_growth_lists_are_sorted_about_as_long_as_it_would_take) {
  single f;
  f.sorter.list(class_64, 1'000'000);
  f.sorter.list(class_1k, 2'000);
  (void)f.take(1);
  BOOST_TEST(f.sorter.sorted[class_64] > 0U);
  BOOST_TEST(f.sorter.sorted[class_64] <= 24U + 24U);  // the latter to see whether they lie in order
  BOOST_TEST(f.sorter.sorted[class_1k] == 0U);         // not the one with most
  f.sorter.sorted = {};
  (void)f.take(4000);
  BOOST_TEST(f.sorter.sorted[class_64] >= 1000U);
  BOOST_TEST(f.sorter.sorted[class_64] <= 1024U + 32U);  // however long the growth: a call stays short
}

// What lies in order is sorted for as many pages as are wanted, an eighth of the time each.
BOOST_AUTO_TEST_CASE(before_new_pages_are_taken_lists_in_order_are_sorted) {
  single f;
  (void)f.take(64);
  (void)f.take(8);  // of another region, with more behind it that nobody has had
  f.sorter.list(class_64, 1'000'000);
  f.sorter.blocks_per_visit = 64;
  f.sorter.sorted = {};
  (void)f.take(4);
  BOOST_TEST(f.sorter.sorted[class_64] >= 600U);
  BOOST_TEST(f.sorter.sorted[class_64] <= 4U * 24U * 8U);
}

BOOST_AUTO_TEST_CASE(before_new_pages_are_taken_lists_without_order_are_left_alone) {
  single f;
  (void)f.take(64);
  (void)f.take(8);
  f.sorter.list(class_64, 1'000'000);
  f.sorter.sorted = {};
  (void)f.take(4);
  BOOST_TEST(f.sorter.sorted[class_64] <= 32U);
}

BOOST_AUTO_TEST_CASE(a_class_keeps_its_least_stay_when_others_grow) {
  single f;
  const std::size_t stay = listed_blocks::stay_blocks(class_1k);
  f.sorter.list(class_1k, stay + 10);
  for (int i = 0; i < 10; ++i) (void)f.take(1000);
  BOOST_TEST(f.sorter.lists[class_1k] == stay);
  const std::size_t calls = f.sorter.calls;
  (void)f.take(1000);
  BOOST_TEST(f.sorter.calls == calls);  // what was sorted in vain isn't looked at again
}

BOOST_AUTO_TEST_CASE(what_sorting_yields_is_taken_instead_of_growth) {
  single f;
  span* const idle_soon = f.take(30);
  f.sorter.held.push_back(idle_soon);
  f.sorter.list(class_64, 100'000);
  const auto calls = f.upstream.allocations();
  BOOST_TEST(f.take(30) == idle_soon);
  BOOST_TEST(f.upstream.allocations() == calls);
}

BOOST_AUTO_TEST_CASE(a_class_that_has_blocks_again_gets_no_run) {
  single f;
  f.sorter.list(class_64, 100'000);
  BOOST_TEST(f.supply.try_take(10, 10, [&] { return f.sorter.calls != 0; }) == nullptr);
  BOOST_TEST(f.upstream.allocations() == 0U);
}

BOOST_AUTO_TEST_CASE(the_limit_is_met_by_giving_back_what_is_idle) {
  single f({.max_bytes = mib});
  span* const run = f.take(100);
  f.supply.give(run);
  span* const longer = f.take(200);  // there is no room beside the first
  BOOST_REQUIRE(longer != nullptr);
  BOOST_TEST(f.take(100) == nullptr);
  BOOST_TEST(f.upstream.peak_bytes() <= mib);
  f.supply.give(longer);
}

BOOST_AUTO_TEST_CASE(a_refusal_of_upstream_is_met_in_the_same_way) {
  cistern::testing::checking_resource checked;
  cistern::testing::failing_resource failing(&checked);
  const pool_options options = cistern::test_support::effective({});
  cistern::detail::upstream_account account(&failing, options.max_bytes);
  counting_sorter<cistern::detail::no_lock> sorter;
  counting_sorter<cistern::detail::no_lock>::supply_type supply(options, account, sorter);
  sorter.supply = &supply;
  sorter.held.push_back(supply.try_take(100, 100, never));
  sorter.list(class_1k, 10);  // below its least stay, but before a refusal all is sorted
  failing.fail_from_nth(1);
  span* const run = supply.try_take(100, 100, never);
  BOOST_TEST(run != nullptr);
  BOOST_TEST(sorter.lists[class_1k] == 0U);
  BOOST_CHECK_THROW((void)supply.try_take(100, 100, never), std::bad_alloc);
  supply.release();
  BOOST_TEST(checked.outstanding_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(spans_that_left_join_the_heap_in_steps_and_serve_at_once) {
  single f;
  span_list left;
  constexpr std::size_t spans = 1000;
  for (std::size_t i = 0; i < spans; ++i) left.push(f.take(1));
  f.supply.give_left(left, spans * page_bytes);
  BOOST_TEST(left.empty());
  const auto calls = f.upstream.allocations();
  span* const run = f.take(100);  // none is that long until some are joined
  BOOST_TEST(f.upstream.allocations() == calls);
  f.supply.give(run);
  for (int step = 0; step < 4; ++step) f.supply.settle(0);
  f.supply.shrink(0);
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(settling_gives_back_in_steps_down_to_the_bound) {
  single f({.max_idle_bytes = mib});
  std::vector<span*> runs;
  for (int i = 0; i < 32; ++i) runs.push_back(f.take(1024));  // a region each
  for (span* run : runs) f.supply.give(run);
  std::size_t held = f.supply.held_bytes();
  int steps = 0;
  while (f.supply.pages_bytes() > mib && steps < 100) {
    f.supply.settle(0);
    BOOST_TEST(held - f.supply.held_bytes() <= 9 * mib);  // 4 MiB, but for the last region
    held = f.supply.held_bytes();
    ++steps;
  }
  BOOST_TEST(steps >= 10);
  BOOST_TEST(steps <= 40);
}

BOOST_AUTO_TEST_CASE(settling_takes_first_what_was_used_longest_ago) {
  single f({.max_idle_bytes = 1});
  f.sorter.list(class_1k, 3000);
  f.sorter.list(class_64, 30'000);
  f.supply.listed().use(class_1k);
  f.supply.settle(0);
  BOOST_TEST(f.sorter.sorted[class_64] > 0U);
  BOOST_TEST(f.sorter.sorted[class_1k] == 0U);
  BOOST_TEST(f.sorter.sorted[class_64] <= 1024U);
}

BOOST_AUTO_TEST_CASE(within_the_bound_nothing_is_done) {
  single f({.max_idle_bytes = 8 * mib});
  f.sorter.list(class_1k, 7000);
  f.supply.give(f.take(10));
  const std::size_t held = f.supply.held_bytes();
  const std::size_t calls = f.sorter.calls;
  for (int i = 0; i < 10; ++i) f.supply.settle(0);
  BOOST_TEST(f.sorter.calls == calls);
  BOOST_TEST(f.supply.held_bytes() == held);
}

BOOST_AUTO_TEST_CASE(shrinking_sorts_all_and_keeps_what_it_is_told) {
  single f;
  std::vector<span*> runs;
  for (int i = 0; i < 8; ++i) runs.push_back(f.take(1024));
  for (span* run : runs) f.supply.give(run);
  f.sorter.list(class_64, 5000);
  f.supply.shrink(16 * mib);
  BOOST_TEST(f.sorter.lists[class_64] == 0U);
  BOOST_TEST(f.supply.pages_bytes() <= 16 * mib);
  BOOST_TEST(f.supply.pages_bytes() > 8 * mib);
  f.supply.shrink(0);
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(making_room_says_whether_it_helped) {
  single f;
  BOOST_TEST(!f.supply.make_room(1));
  span* const run = f.take(1024);
  BOOST_TEST(!f.supply.make_room(2000));
  f.supply.give(run);
  BOOST_TEST(f.supply.make_room(10));    // there is a run
  BOOST_TEST(f.supply.make_room(2000));  // upstream has more
  BOOST_TEST(f.account.bytes() == 0U);
}
