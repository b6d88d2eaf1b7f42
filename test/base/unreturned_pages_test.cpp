// Pages that the system refused: nothing is lost, everything serves again and reads as zero, and all of it
// goes back once it may. Also by its only user, `unmap_pages`.
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/unreturned_pages.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/refused_calls.hpp"
#include "../support/threads.hpp"
#include "../support/zeros.hpp"

using cistern::detail::map_pages;
using cistern::detail::os_page_bytes;
using cistern::detail::unmap_pages;
using cistern::detail::unreturned_pages;
using cistern::test_support::is_zero;
using cistern::test_support::madvise_call;
using cistern::test_support::munmap_call;
using cistern::test_support::require;
using cistern::test_support::while_refused;

namespace {

const std::size_t page = os_page_bytes();

std::byte* mapping(std::size_t pages) {
  void* const made =
      ::mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(made != MAP_FAILED, "mmap");
  return static_cast<std::byte*>(std::memset(made, 0xee, pages * page));
}

std::byte* take(unreturned_pages& from, std::size_t pages, std::size_t alignment = 1) {
  return static_cast<std::byte*>(from.try_take(pages * page, alignment));
}

// Whether none of these pages belongs to this process.
bool is_unmapped(std::byte* pages, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    unsigned char residence = 0;
    if (::mincore(pages + i * page, page, &residence) == 0) return false;
  }
  return true;
}

}  // namespace

BOOST_AUTO_TEST_CASE(nothing_is_there_at_first) {
  unreturned_pages kept;
  BOOST_TEST(!kept.any());
  BOOST_TEST(take(kept, 1) == nullptr);
  kept.offer();
}

BOOST_AUTO_TEST_CASE(what_is_kept_serves_again_and_reads_as_zero) {
  for (const bool advice_refused : {false, true}) {
    unreturned_pages kept;
    std::byte* const pages = mapping(10);
    {
      const while_refused no_munmap(munmap_call);
      madvise_call.refuse_after(advice_refused ? 0 : 1000);
      kept.keep(pages, 10 * page);
      madvise_call.allow();
    }
    BOOST_TEST(kept.any());
    BOOST_TEST(take(kept, 11) == nullptr);
    for (std::size_t i = 0; i < 10; i += 2) {
      std::byte* const part = take(kept, 2);
      BOOST_REQUIRE(part == pages + i * page);
      BOOST_TEST(is_zero(part, 2 * page));
    }
    BOOST_TEST(!kept.any());
    BOOST_TEST(take(kept, 1) == nullptr);
    ::munmap(pages, 10 * page);
  }
}

BOOST_AUTO_TEST_CASE(an_alignment_leaves_the_rest_on_both_sides) {
  unreturned_pages kept;
  std::byte* const pages = mapping(64);
  std::byte* const odd = pages + (reinterpret_cast<std::uintptr_t>(pages) / page % 2 == 0 ? page : 0);
  const std::size_t count = 64 - static_cast<std::size_t>(odd - pages) / page;
  const while_refused no_munmap(munmap_call);
  kept.keep(odd, count * page);
  std::byte* const aligned = take(kept, 16, 16 * page);
  const bool is_aligned = reinterpret_cast<std::uintptr_t>(aligned) % (16 * page) == 0;
  std::size_t left = 0;
  while (take(kept, 1) != nullptr) ++left;
  munmap_call.allow();
  BOOST_TEST(aligned != nullptr);
  BOOST_TEST(is_aligned);
  BOOST_TEST(left == count - 16);
  ::munmap(pages, 64 * page);
}

BOOST_AUTO_TEST_CASE(neighbours_are_joined_and_a_whole_mapping_goes_back) {
  unreturned_pages kept;
  std::byte* const pages = mapping(8);
  {
    const while_refused no_munmap(munmap_call);
    for (const unsigned i : {0U, 2U, 4U, 6U, 1U, 5U}) kept.keep(pages + i * page, page);
    kept.keep(pages + 7 * page, page);
  }
  BOOST_TEST(munmap_call.refused() > 0);
  kept.keep(pages + 3 * page, page);
  BOOST_TEST(!kept.any());
  BOOST_TEST(is_unmapped(pages, 8));
}

BOOST_AUTO_TEST_CASE(they_are_offered_again) {
  unreturned_pages kept;
  std::byte* const pages = mapping(9);
  {
    const while_refused no_munmap(munmap_call);
    for (std::size_t i = 0; i < 9; i += 2) kept.keep(pages + i * page, page);
    kept.offer();
    BOOST_TEST(kept.any());
  }
  for (int i = 0; i < 5 && kept.any(); ++i) kept.offer();
  BOOST_TEST(!kept.any());
  for (std::size_t i = 0; i < 9; ++i) BOOST_TEST(is_unmapped(pages + i * page, 1) == (i % 2 == 0));
  ::munmap(pages, 9 * page);
}

// Against a model that has a flag for each page.
BOOST_AUTO_TEST_CASE(a_random_life_agrees_with_its_model) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      constexpr std::size_t all = 400;
      std::mt19937 random(seed);
      unreturned_pages kept;
      std::byte* const pages = mapping(all);
      const while_refused no_munmap(munmap_call);
      std::vector<bool> is_ours(all, true);
      std::vector<std::pair<std::size_t, std::size_t>> ours{{0, all}};  // first, count
      bool good = true;
      for (int step = 0; step < 3'000 && good; ++step) {
        if (random() % 2 == 0 && !ours.empty()) {
          std::swap(ours[random() % ours.size()], ours.back());
          auto& [first, count] = ours.back();
          const std::size_t given = 1 + random() % count;
          madvise_call.refuse_after(random() % 4 == 0 ? 0 : 1000);
          kept.keep(pages + first * page, given * page);
          madvise_call.allow();
          std::fill_n(is_ours.begin() + static_cast<std::ptrdiff_t>(first), given, false);
          first += given;
          count -= given;
          if (count == 0) ours.pop_back();
        } else {
          const std::size_t wanted = 1 + random() % 12;
          std::byte* const got = take(kept, wanted, random() % 4 == 0 ? 2 * page : 1);
          if (got == nullptr) continue;
          const std::size_t first = static_cast<std::size_t>(got - pages) / page;
          good = got >= pages && first + wanted <= all && is_zero(got, wanted * page);
          for (std::size_t i = first; good && i < first + wanted; ++i) {
            good = !is_ours[i];
            is_ours[i] = true;
          }
          std::memset(got, 0xee, wanted * page);
          ours.emplace_back(first, wanted);
        }
      }
      for (const auto& [first, count] : ours) kept.keep(pages + first * page, count * page);
      good = good && take(kept, all) == pages;  // nothing was lost, and all of it is one again
      munmap_call.allow();
      BOOST_TEST(good);
      ::munmap(pages, all * page);
    }
  }
}

BOOST_AUTO_TEST_CASE(threads_lose_nothing) {
  constexpr std::size_t each = 200;
  unreturned_pages kept;
  std::byte* const pages = mapping(4 * each);
  const while_refused no_munmap(munmap_call);
  cistern::test_support::run_threads(4, [&](std::size_t index) {
    std::byte* const mine = pages + index * each * page;
    std::vector<std::byte*> taken;
    for (std::size_t i = 0; i < each; ++i) {
      kept.keep(mine + i * page, page);
      if (std::byte* const one = take(kept, 1); one != nullptr) taken.push_back(one);
      if (i % 3 == 0 && !taken.empty()) kept.keep(std::exchange(taken.back(), taken.front()), page);
      if (i % 3 == 0 && !taken.empty()) taken.pop_back();
    }
    for (std::byte* const one : taken) kept.keep(one, page);
  });
  const bool is_whole = take(kept, 4 * each) == pages;
  munmap_call.allow();
  BOOST_TEST(is_whole);
  ::munmap(pages, 4 * each * page);
}

BOOST_AUTO_TEST_CASE(pages_that_can_not_be_unmapped_come_again) {
  constexpr std::size_t bytes = std::size_t{1} << 20;
  void* const first = map_pages(bytes, 1);
  BOOST_REQUIRE(first != nullptr);
  std::memset(first, 1, bytes);
  {
    const while_refused no_munmap(munmap_call);
    for (int round = 0; round < 10; ++round) {
      unmap_pages(first, bytes);
      void* const again = map_pages(bytes, 1);
      require(again == first && is_zero(again, bytes), "the same pages, zeroed");
      std::memset(again, 1, bytes);
    }
    unmap_pages(first, bytes);
  }
  void* const other = map_pages(os_page_bytes() * 3, 1);
  unmap_pages(other, os_page_bytes() * 3);  // what was refused is offered, too
  BOOST_TEST(is_unmapped(static_cast<std::byte*>(first), bytes / page));
}

// The whole kind: every other one of many goes, none of them may, and then the rest.
BOOST_AUTO_TEST_CASE(rounds_of_holes_lose_no_addresses) {
  constexpr std::size_t blocks = 2'000;
  constexpr std::size_t bytes = std::size_t{200} << 10;
  std::vector<void*> all(blocks);
  std::vector<void*> first_round;
  for (int round = 0; round < 3; ++round) {
    for (void*& block : all) block = map_pages(bytes, 1);
    const while_refused no_munmap(munmap_call);
    for (std::size_t i = 0; i < blocks; i += 2) unmap_pages(std::exchange(all[i], nullptr), bytes);
    for (std::size_t i = 0; i < blocks; i += 2) all[i] = map_pages(bytes, 1);
    std::vector<void*> sorted = all;
    std::sort(sorted.begin(), sorted.end());
    if (first_round.empty()) first_round = sorted;
    require(sorted == first_round, "the addresses of the first round");
    for (void* const block : all) unmap_pages(block, bytes);
  }
  for (int i = 0; i < 100; ++i) unmap_pages(map_pages(page, 1), page);  // what is left is offered each time
  BOOST_TEST(is_unmapped(static_cast<std::byte*>(first_round.front()), bytes / page));
  BOOST_TEST(is_unmapped(static_cast<std::byte*>(first_round.back()), bytes / page));
}

BOOST_AUTO_TEST_CASE(what_has_holes_or_is_protected_is_let_go) {
  std::byte* const pages = static_cast<std::byte*>(map_pages(4 * page, 1));
  BOOST_REQUIRE(pages != nullptr);
  ::munmap(pages + page, page);
  {
    const while_refused no_munmap(munmap_call);
    unmap_pages(pages, 4 * page);
  }
  BOOST_TEST(is_unmapped(pages + page, 1));
  unmap_pages(pages, 4 * page);
  BOOST_TEST(is_unmapped(pages, 4));
}
