// growth_finder: what grows step by step is found, and what only looks like it isn't.
#include "../../src/trace/growth_finder.hpp"

#include <cstdint>
#include <memory_resource>

#include <boost/test/unit_test.hpp>

using cistern::detail::growth_facts;
using cistern::detail::growth_finder;

namespace {

constexpr std::uint64_t thread = 7;
constexpr std::uint32_t site = 3;

/// Blocks 1, 2, ..., each twice as large as the one before, which is freed once it is there.
void grow(growth_finder& finder, std::uint64_t bytes, std::uint64_t blocks, std::uint32_t at = site) {
  for (std::uint64_t block = 1; block <= blocks; ++block, bytes *= 2) {
    finder.allocate(block, bytes, thread, at);
    if (block > 1) finder.free(block - 1, thread, at);
  }
}

[[nodiscard]] bool is_replaced(const growth_finder& finder, std::uint64_t block) {
  return block < finder.replaced().size() && finder.replaced()[block];
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_vector_that_grows_is_one_chain) {
  growth_finder finder(std::pmr::new_delete_resource());
  grow(finder, 8, 5);
  BOOST_TEST((finder.at(site) == growth_facts{1, 4, 8 + 16 + 32 + 64, 128}));
  for (std::uint64_t block = 1; block <= 4; ++block) BOOST_TEST(is_replaced(finder, block));
  BOOST_TEST(!is_replaced(finder, 5));
  BOOST_TEST((finder.at(site + 1) == growth_facts()));
  BOOST_TEST((finder.at(0) == growth_facts()));
}

BOOST_AUTO_TEST_CASE(one_step_is_none) {
  growth_finder finder(std::pmr::new_delete_resource());
  grow(finder, 8, 2);
  BOOST_TEST((finder.at(site) == growth_facts()));
  BOOST_TEST(!is_replaced(finder, 1));
}

BOOST_AUTO_TEST_CASE(what_is_too_large_too_small_or_of_another_site_or_thread_is_no_step) {
  growth_finder finder(std::pmr::new_delete_resource());
  finder.allocate(1, 100, thread, site);
  finder.allocate(2, 300, thread, site);
  BOOST_TEST(!finder.free(1, thread, site));
  finder.allocate(3, 305, thread, site);
  BOOST_TEST(!finder.free(2, thread, site));
  finder.allocate(4, 600, thread, site + 1);
  BOOST_TEST(!finder.free(3, thread, site));
  finder.allocate(5, 1200, thread, site + 1);
  BOOST_TEST(!finder.free(4, thread + 1, site + 1));
  finder.allocate(6, 2400, thread, site + 1);
  BOOST_TEST(!finder.free(5, thread, site));  // Freed elsewhere than made.
  finder.allocate(7, 10, thread, site);
  BOOST_TEST(!finder.free(6, thread, site + 1));
  BOOST_TEST(!finder.free(6000, thread, site));
}

BOOST_AUTO_TEST_CASE(reallocations_grow_by_any_amount_and_copy_where_they_move) {
  growth_finder finder(std::pmr::new_delete_resource());
  finder.allocate(1, 100, thread, site);
  finder.reallocate(1, 2, 101, thread, site, true);
  finder.reallocate(2, 3, 5000, thread, site, false);
  finder.reallocate(3, 4, 5001, thread, site, true);
  BOOST_TEST((finder.at(site) == growth_facts{1, 3, 100 + 5000, 5001}));
  finder.reallocate(4, 5, 10, thread, site, true);  // Shrinks: what grows then is another growth.
  finder.reallocate(5, 6, 20, thread, site, true);
  BOOST_TEST((finder.at(site) == growth_facts{1, 3, 100 + 5000, 5001}));
  finder.reallocate(6, 7, 30, thread, site, true);
  BOOST_TEST((finder.at(site) == growth_facts{2, 5, 100 + 5000 + 10 + 20, 5001}));
  finder.reallocate(0, 8, 30, thread, site, true);  // Of what was there before the trace.
  BOOST_TEST(finder.at(site).chains == 2u);
}
