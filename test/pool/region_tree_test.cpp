// Regions by address: what std::map finds, in trees that stay shallow.
//
// Plan: 1. find, at the bounds of each region and between them; 2. random inserts, removes and finds beside a
// std::map; 3. the tree stays shallow whatever the order of inserts, and whatever the distance of the
// regions.
#include <cistern/detail/pool/region_tree.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"

using cistern::detail::heap_region;
using cistern::detail::page_bytes;
using cistern::detail::region_tree;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

// Regions are found by what their records say: nothing needs to lie there.
const std::byte* at(std::uintptr_t address) {
  return reinterpret_cast<const std::byte*>(address);
}

heap_region region_at(std::uintptr_t address, std::size_t bytes) {
  heap_region made{};
  made.base = const_cast<std::byte*>(at(address));
  made.bytes = bytes;
  return made;
}

constexpr std::uintptr_t somewhere = 0x7f12'3456'7000;

// `count` regions of a page each, so far apart, in order of address.
std::vector<heap_region> regions_in_a_row(std::size_t count, std::size_t distance_bytes) {
  std::vector<heap_region> made(count);
  for (std::size_t i = 0; i < count; ++i) made[i] = region_at(somewhere + i * distance_bytes, page_bytes);
  return made;
}

std::size_t depth(const region_tree& tree) {
  std::size_t deepest = 0;
  std::vector<std::pair<const heap_region*, std::size_t>> left{{tree.any(), 1}};
  while (!left.empty()) {
    const auto [one, level] = left.back();
    left.pop_back();
    if (one == nullptr) continue;
    deepest = std::max(deepest, level);
    left.emplace_back(one->left, level + 1);
    left.emplace_back(one->right, level + 1);
  }
  return deepest;
}

// A random tree of 4,000 is about 27 deep.
constexpr std::size_t many_regions = 4'000;
constexpr std::size_t shallow = 60;

}  // namespace

BOOST_AUTO_TEST_CASE(an_empty_tree_finds_nothing) {
  const region_tree tree;
  BOOST_TEST(tree.empty());
  BOOST_TEST((tree.find(at(somewhere)) == nullptr));
  BOOST_TEST((tree.find(nullptr) == nullptr));
}

BOOST_AUTO_TEST_CASE(a_region_is_found_from_its_first_byte_to_its_last) {
  region_tree tree;
  heap_region one = region_at(somewhere, 3 * page_bytes);
  heap_region right_behind = region_at(somewhere + 3 * page_bytes, page_bytes);
  heap_region far_behind = region_at(somewhere + 10 * page_bytes, page_bytes);
  for (heap_region* each : {&far_behind, &one, &right_behind}) tree.insert(each);
  for (const bool again : {false, true}) {  // also where the last find was elsewhere
    BOOST_TEST_CONTEXT("again " << again) {
      BOOST_TEST((tree.find(at(somewhere - 1)) == nullptr));
      BOOST_TEST((tree.find(at(somewhere)) == &one));
      BOOST_TEST((tree.find(at(somewhere + 3 * page_bytes - 1)) == &one));
      BOOST_TEST((tree.find(at(somewhere + 3 * page_bytes)) == &right_behind));
      BOOST_TEST((tree.find(at(somewhere + 4 * page_bytes - 1)) == &right_behind));
      BOOST_TEST((tree.find(at(somewhere + 4 * page_bytes)) == nullptr));
      BOOST_TEST((tree.find(at(somewhere + 10 * page_bytes)) == &far_behind));
      BOOST_TEST((tree.find(at(somewhere + 11 * page_bytes)) == nullptr));
    }
  }
}

BOOST_AUTO_TEST_CASE(what_was_found_last_is_forgotten_when_it_goes) {
  region_tree tree;
  heap_region gone = region_at(somewhere, page_bytes);
  heap_region follower = region_at(somewhere, 2 * page_bytes);
  tree.insert(&gone);
  BOOST_TEST((tree.find(at(somewhere)) == &gone));
  tree.remove(&gone);
  BOOST_TEST((tree.find(at(somewhere)) == nullptr));
  tree.insert(&follower);
  BOOST_TEST((tree.find(at(somewhere)) == &follower));
}

BOOST_AUTO_TEST_CASE(random_programs_find_what_a_map_finds) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      region_tree tree;
      std::deque<heap_region> records;  // stay where they are
      std::map<std::uintptr_t, heap_region*> model;
      const std::size_t places = seed % 2 == 0 ? 50 : 500;
      for (std::size_t step = 0; step < scaled(5'000); ++step) {
        const std::uintptr_t place = somewhere + below(random, places) * 10 * page_bytes;
        if (const auto found = model.find(place); found == model.end()) {
          records.push_back(region_at(place, (1 + below(random, 10)) * page_bytes));
          tree.insert(&records.back());
          model.emplace(place, &records.back());
        } else if (random() % 2 == 0) {
          tree.remove(found->second);
          model.erase(found);
        }
        const std::uintptr_t wanted = somewhere - page_bytes + below(random, (places + 1) * 10 * page_bytes);
        const auto behind = model.upper_bound(wanted);
        heap_region* expected = behind != model.begin() ? std::prev(behind)->second : nullptr;
        if (expected != nullptr && !expected->holds(at(wanted))) expected = nullptr;
        BOOST_REQUIRE((tree.find(at(wanted)) == expected));
        BOOST_REQUIRE(tree.empty() == model.empty());
        if (step % 100 != 0) continue;
        auto next = model.begin();
        tree.for_each([&](const heap_region& each) {
          BOOST_REQUIRE(next != model.end());
          BOOST_REQUIRE((&each == next->second));
          ++next;
        });
        BOOST_REQUIRE((next == model.end()));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(no_order_of_inserts_makes_the_tree_deep) {
  std::vector<std::size_t> ascending(many_regions);
  for (std::size_t i = 0; i < many_regions; ++i) ascending[i] = i;
  std::vector<std::size_t> descending(ascending.rbegin(), ascending.rend());
  std::vector<std::size_t> from_both_ends;
  std::vector<std::size_t> from_the_middle;
  for (std::size_t i = 0; i < many_regions / 2; ++i) {
    from_both_ends.insert(from_both_ends.end(), {i, many_regions - 1 - i});
    from_the_middle.insert(from_the_middle.end(), {many_regions / 2 + i, many_regions / 2 - 1 - i});
  }
  for (const auto& order : {ascending, descending, from_both_ends, from_the_middle}) {
    std::vector<heap_region> regions = regions_in_a_row(many_regions, std::size_t{4} << 20);
    region_tree tree;
    for (const std::size_t i : order) tree.insert(&regions[i]);
    BOOST_TEST(depth(tree) <= shallow);
    // Nor does what is removed: every other one, in that order.
    for (std::size_t i = 0; i < many_regions; i += 2) tree.remove(&regions[order[i]]);
    BOOST_TEST(depth(tree) <= shallow);
    for (std::size_t i = 0; i < many_regions; ++i) {
      BOOST_REQUIRE((tree.find(regions[order[i]].base) == (i % 2 == 0 ? nullptr : &regions[order[i]])));
    }
  }
}

// Regions of one size in a row, as a system hands them out: some distance would always make the priorities of
// all of them ascend, were these no more than multiples.
BOOST_AUTO_TEST_CASE(no_distance_of_regions_makes_the_tree_deep) {
  for (std::size_t pages = 1; pages <= 2'000; pages += sanitized ? 41 : 4) {
    for (const std::size_t distance_bytes : {pages * page_bytes, pages * page_bytes + 64 * pages + 64}) {
      std::vector<heap_region> regions = regions_in_a_row(many_regions / 2, distance_bytes);
      region_tree tree;
      for (heap_region& each : regions) tree.insert(&each);
      BOOST_REQUIRE_MESSAGE(depth(tree) <= shallow,
                            depth(tree) << " deep where regions are " << distance_bytes << " bytes apart");
    }
  }
}
