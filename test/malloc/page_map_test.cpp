// The page map: codes by address, leaves made on demand, addresses out of its reach.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <boost/test/unit_test.hpp>

#include "../support/refused_calls.hpp"
#include "../support/threads.hpp"
#include <malloc/page_map.hpp>

using cistern::detail::page_map;

namespace {

// Half a megabyte of zeros: nothing for a stack.
constinit page_map map;

const void* address(std::uintptr_t number) {
  return reinterpret_cast<const void*>(number);  // NOLINT(performance-no-int-to-ptr): none is followed
}

constexpr std::uintptr_t page = std::uintptr_t{1} << page_map::page_bits;
constexpr std::uintptr_t gib = std::uintptr_t{1} << 30;

}  // namespace

BOOST_AUTO_TEST_CASE(nothing_is_known_at_first) {
  for (const std::uintptr_t number : {std::uintptr_t{0}, page, 100 * gib, UINTPTR_MAX}) {
    BOOST_TEST(int{map.at(address(number))} == 0);
  }
}

BOOST_AUTO_TEST_CASE(every_byte_of_a_page_has_its_code_and_no_other_byte) {
  const std::uintptr_t first = 200 * gib + 7 * page;
  BOOST_REQUIRE(map.cover(address(first), 3 * page));
  map.set(address(first), 3 * page, 42);
  BOOST_TEST(int{map.at(address(first - 1))} == 0);
  for (const std::uintptr_t offset : {std::uintptr_t{0}, page - 1, page, 3 * page - 1}) {
    BOOST_TEST(int{map.at(address(first + offset))} == 42);
  }
  BOOST_TEST(int{map.at(address(first + 3 * page))} == 0);
  map.set(address(first + page), 1, 7);
  BOOST_TEST(int{map.at(address(first + page - 1))} == 42);
  BOOST_TEST(int{map.at(address(first + page))} == 7);
  BOOST_TEST(int{map.at(address(first + 2 * page))} == 42);
  map.set(address(first), 3 * page, 0);
  BOOST_TEST(int{map.at(address(first + page))} == 0);
}

BOOST_AUTO_TEST_CASE(a_range_may_lie_across_leaves) {
  const std::uintptr_t boundary = 3 * 4 * gib;
  BOOST_REQUIRE(map.cover(address(boundary - page), 2 * page));
  map.set(address(boundary - page), 2 * page, 9);
  BOOST_TEST(int{map.at(address(boundary - page))} == 9);
  BOOST_TEST(int{map.at(address(boundary))} == 9);
  BOOST_TEST(int{map.at(address(boundary + page))} == 0);
}

BOOST_AUTO_TEST_CASE(a_page_is_covered_with_what_was_got_before) {
  using cistern::test_support::mmap_call;
  page_map::spare_leaf spare(map);
  BOOST_REQUIRE(bool{spare});
  const cistern::test_support::while_refused no_mmap(mmap_call);
  const std::uintptr_t first = 5000 * gib;
  map.cover(address(first), spare);
  map.set(address(first), page, 3);
  const int seen = map.at(address(first));
  const bool has_more = bool{page_map::spare_leaf(map)};
  mmap_call.allow();
  BOOST_TEST(seen == 3);
  BOOST_TEST(!has_more);
}

BOOST_AUTO_TEST_CASE(what_was_got_in_vain_is_there_for_the_next) {
  using cistern::test_support::mmap_call;
  BOOST_REQUIRE(map.cover(address(0), page));
  for (int i = 0; i < 3; ++i) {
    page_map::spare_leaf spare(map);
    map.cover(address(page), spare);  // its leaf is there
    mmap_call.refuse_after(0);
  }
  const bool has_one = bool{page_map::spare_leaf(map)};
  mmap_call.allow();
  BOOST_TEST(has_one);
}

BOOST_AUTO_TEST_CASE(addresses_that_no_program_has_are_refused) {
  BOOST_TEST(!map.cover(address(std::uintptr_t{1} << 48), page));
  BOOST_TEST(!map.cover(address((std::uintptr_t{1} << 48) - page), 2 * page));
  BOOST_TEST(map.cover(address((std::uintptr_t{1} << 48) - page), page));  // the last that one may have
}

BOOST_AUTO_TEST_CASE(threads_that_need_the_same_leaf_share_it) {
  for (std::uintptr_t leaf = 100; leaf < 120; ++leaf) {
    cistern::test_support::run_threads(4, [leaf](std::size_t index) {
      const void* mine = address(leaf * 4 * gib + index * page);
      cistern::test_support::require(map.cover(mine, page), "no leaf");
      map.set(mine, page, static_cast<page_map::code>(index + 1));
    });
    for (std::size_t index = 0; index < 4; ++index) {
      BOOST_TEST(map.at(address(leaf * 4 * gib + index * page)) == index + 1);
    }
  }
}
