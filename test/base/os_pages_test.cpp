// Pages of the system: whole, zeroed, aligned as asked, given back to the last one, and null where there are
// none; whatever happens, `errno` stays.
#include <cistern/detail/base/os_pages.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/zeros.hpp"
#include <sys/mman.h>
#include <unistd.h>

using namespace cistern::detail;  // NOLINT(google-build-using-namespace)
using cistern::test_support::is_zero;

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

std::byte* map(std::size_t bytes, std::size_t alignment) {
  return static_cast<std::byte*>(map_pages(bytes, alignment));
}

// Whether every page there belongs to this process: `mincore` fails where one doesn't.
bool is_mapped(void* pages, std::size_t bytes) {
  std::vector<unsigned char> residence(bytes / os_page_bytes());
  return ::mincore(pages, bytes, residence.data()) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(pages_are_the_system_s) {
  BOOST_TEST(os_page_bytes() == static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  BOOST_TEST((os_page_bytes() & (os_page_bytes() - 1)) == 0U);
  BOOST_TEST(huge_page_bytes % os_page_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(sizes_are_rounded_up_to_whole_pages) {
  const std::size_t page = os_page_bytes();
  BOOST_TEST(whole_pages(0) == page);
  BOOST_TEST(whole_pages(1) == page);
  BOOST_TEST(whole_pages(page - 1) == page);
  BOOST_TEST(whole_pages(page) == page);
  BOOST_TEST(whole_pages(page + 1) == 2 * page);
  BOOST_TEST(whole_pages(SIZE_MAX - page + 1) == SIZE_MAX - page + 1);  // the last that can be had
  BOOST_TEST(whole_pages(SIZE_MAX - page + 2) == 0U);
  BOOST_TEST(whole_pages(SIZE_MAX) == 0U);
}

BOOST_AUTO_TEST_CASE(they_are_zeroed_aligned_and_exactly_as_many) {
  const std::size_t page = os_page_bytes();
  for (const std::size_t bytes : {page, 3 * page, mib, huge_page_bytes}) {
    for (std::size_t alignment = 1; alignment <= 16 * mib; alignment *= 4) {
      std::byte* pages = map(bytes, alignment);
      BOOST_REQUIRE(pages != nullptr);
      BOOST_TEST(reinterpret_cast<std::uintptr_t>(pages) % alignment == 0U);
      BOOST_TEST(reinterpret_cast<std::uintptr_t>(pages) % page == 0U);
      BOOST_TEST(is_zero(pages, bytes));
      std::memset(pages, 0xab, bytes);
      unmap_pages(pages, bytes);
      BOOST_TEST(!is_mapped(pages, page));
      BOOST_TEST(!is_mapped(pages + bytes - page, page));
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_mapped_too_much_for_an_alignment_goes_back) {
  constexpr std::size_t alignment = 64 * mib;
  const std::size_t page = os_page_bytes();
  // Several, as the first may happen to be aligned already. Nothing else maps anything meanwhile.
  std::vector<std::byte*> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(map(page, alignment));
    BOOST_REQUIRE(all.back() != nullptr);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(all.back()) % alignment == 0U);
    BOOST_TEST(!is_mapped(all.back() + page, alignment - 2 * page));
  }
  for (std::byte* pages : all) unmap_pages(pages, page);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_had_is_null) {
  errno = EDOM;
  const bool all_null = map_pages(0, 1) == nullptr && map_pages(std::size_t{1} << 62, 1) == nullptr &&
                        map_pages(whole_pages(PTRDIFF_MAX), huge_page_bytes) == nullptr &&
                        map_pages(SIZE_MAX & ~(os_page_bytes() - 1), 16 * mib) == nullptr &&
                        map_pages(os_page_bytes(), std::size_t{1} << 62) == nullptr;
  const int after = errno;
  BOOST_TEST(all_null);
  BOOST_TEST(after == EDOM);
}

BOOST_AUTO_TEST_CASE(pages_go_back_in_parts_and_several_mappings_at_once) {
  const std::size_t page = os_page_bytes();
  std::byte* pages = map(4 * page, page);
  BOOST_REQUIRE(pages != nullptr);
  std::memset(pages, 1, 4 * page);
  unmap_pages(pages + page, page);  // a hole
  BOOST_TEST(!is_mapped(pages + page, page));
  BOOST_TEST((pages[0] == std::byte{1} && pages[2 * page] == std::byte{1}));
  unmap_pages(pages, 4 * page);  // the rest, the hole included
  BOOST_TEST(!is_mapped(pages, page));
  BOOST_TEST(!is_mapped(pages + 3 * page, page));
}

BOOST_AUTO_TEST_CASE(access_is_forbidden_and_allowed_page_by_page) {
  const std::size_t page = os_page_bytes();
  auto* pages = static_cast<std::byte*>(reserve_pages(3 * page));
  BOOST_REQUIRE(pages != nullptr);
  BOOST_REQUIRE(open_pages(pages + page, page));
  BOOST_TEST(is_zero(pages + page, page));
  pages[page] = std::byte{7};
  const auto touches = [](volatile std::byte* where) {
    return cistern::test_support::run_and_die([=] { *where = *where; }).description;
  };
  BOOST_TEST(touches(pages + page) == "exited with 0");
  BOOST_TEST(touches(pages + page - 1) == "killed by signal 11");
  BOOST_TEST(touches(pages + 2 * page) == "killed by signal 11");
  BOOST_REQUIRE(close_pages(pages + page, page));
  BOOST_TEST(touches(pages + page) == "killed by signal 11");
  BOOST_REQUIRE(open_pages(pages + page, page));
  BOOST_TEST((pages[page] == std::byte{7}));
  unmap_pages(pages, 3 * page);
}

BOOST_AUTO_TEST_CASE(access_that_cannot_be_changed_is_said_so) {
  const std::size_t page = os_page_bytes();
  std::byte* pages = map(page, page);
  BOOST_REQUIRE(pages != nullptr);
  errno = EDOM;
  const bool none = !open_pages(pages + 1, page) && !close_pages(pages + 1, page) &&
                    reserve_pages(whole_pages(PTRDIFF_MAX)) == nullptr;
  const int after = errno;
  BOOST_TEST(none);
  BOOST_TEST(after == EDOM);
  unmap_pages(pages, page);
}

BOOST_AUTO_TEST_CASE(errno_stays) {
  const std::size_t page = os_page_bytes();
  errno = EDOM;
  std::byte* pages = map(page, 16 * mib);
  advise_huge_pages(pages, page);
  advise_huge_pages(pages + 1, page);  // which the system refuses
  unmap_pages(pages + 1, page);        // and this
  unmap_pages(pages, page);
  const int after = errno;
  BOOST_TEST(after == EDOM);
}

BOOST_AUTO_TEST_CASE(advice_changes_no_content) {
  std::byte* pages = map(2 * huge_page_bytes, huge_page_bytes);
  BOOST_REQUIRE(pages != nullptr);
  pages[5] = std::byte{7};
  advise_huge_pages(pages, 2 * huge_page_bytes);
  BOOST_TEST((pages[5] == std::byte{7}));
  BOOST_TEST(is_zero(pages + 4096, 2 * huge_page_bytes - 4096));
  unmap_pages(pages, 2 * huge_page_bytes);
}
