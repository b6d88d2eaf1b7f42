// Size classes: tables and arithmetic agree, blocks are large enough, waste little and are aligned.
#include <cistern/detail/base/size_classes.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

using namespace cistern::detail;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

// Every size up to 1 MiB, then the neighbourhood of each class border up to the largest block.
std::vector<std::size_t> sizes() {
  std::vector<std::size_t> all;
  for (std::size_t bytes = 1; bytes <= mib; ++bytes) all.push_back(bytes);
  for (unsigned index = 0; index < class_count; ++index) {
    const std::size_t border = class_block_bytes(index);
    for (std::size_t bytes = border - 3; bytes <= border + 3; ++bytes) {
      if (bytes > mib && bytes <= largest_block_bytes) all.push_back(bytes);
    }
  }
  return all;
}

// The sizes for which `holds` does not hold, at most the first few.
template <class Predicate>
std::vector<std::size_t> exceptions(const std::vector<std::size_t>& all, Predicate holds) {
  constexpr std::size_t most_shown = 5;
  std::vector<std::size_t> found;
  for (const std::size_t bytes : all) {
    if (!holds(bytes) && found.size() < most_shown) found.push_back(bytes);
  }
  return found;
}

const std::vector<std::size_t> none;

std::size_t block_for(std::size_t bytes) {
  return class_block_bytes(class_of(bytes - 1));
}

}  // namespace

BOOST_AUTO_TEST_CASE(tables_agree_with_the_arithmetic) {
  BOOST_TEST(exceptions(sizes(),
                        [](std::size_t bytes) {
                          return class_of(bytes - 1) == computed_class_of(bytes - 1);
                        }) == none,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_block_is_the_smallest_that_is_large_enough) {
  BOOST_TEST(exceptions(sizes(),
                        [](std::size_t bytes) {
                          const unsigned index = class_of(bytes - 1);
                          return index < class_count && class_block_bytes(index) >= bytes &&
                                 (index == 0 || class_block_bytes(index - 1) < bytes);
                        }) == none,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(waste_is_bounded) {
  BOOST_TEST(exceptions(sizes(),
                        [](std::size_t bytes) {
                          const std::size_t waste_bytes = block_for(bytes) - bytes;
                          return bytes <= fine_limit_bytes ? waste_bytes <= 15 : waste_bytes * 4 <= bytes;
                        }) == none,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(block_sizes_grow_and_end_at_the_largest) {
  BOOST_TEST(class_block_bytes(0) == smallest_block_bytes);
  for (unsigned index = 1; index < class_count; ++index) {
    BOOST_TEST(class_block_bytes(index) > class_block_bytes(index - 1));
    BOOST_TEST(class_block_bytes(index) % 8 == 0U);
  }
  BOOST_TEST(class_block_bytes(class_count - 1) == largest_block_bytes);
}

BOOST_AUTO_TEST_CASE(a_size_rounded_to_an_alignment_gets_a_block_that_is_a_multiple_of_it) {
  for (std::size_t alignment = 1; alignment <= largest_block_bytes; alignment *= 2) {
    const auto fits = [alignment](std::size_t bytes) {
      const std::size_t last = last_byte(bytes, alignment);
      if (last >= largest_block_bytes) return bytes > largest_block_bytes - alignment;
      const std::size_t block_bytes = class_block_bytes(class_of(last));
      return last + 1 >= bytes && (last + 1) % alignment == 0 && block_bytes >= bytes &&
             block_bytes % alignment == 0;
    };
    BOOST_TEST_INFO("alignment " << alignment);
    BOOST_TEST(exceptions(sizes(), fits) == none, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(class_alignment_is_the_sizes_own_but_at_most_a_page) {
  for (unsigned index = 0; index < class_count; ++index) {
    const std::size_t alignment = class_alignment(index);
    const std::size_t block_bytes = class_block_bytes(index);
    BOOST_TEST(std::has_single_bit(alignment));
    BOOST_TEST(alignment <= page_bytes);
    BOOST_TEST(block_bytes % alignment == 0U);
    BOOST_TEST((alignment == page_bytes || block_bytes % (2 * alignment) != 0));
  }
}

BOOST_AUTO_TEST_CASE(good_size_is_the_block_size) {
  BOOST_TEST(good_size(0) == smallest_block_bytes);
  BOOST_TEST(
      exceptions(sizes(), [](std::size_t bytes) { return good_size(bytes) == block_for(bytes); }) == none,
      boost::test_tools::per_element());
  static_assert(good_size(fine_limit_bytes) == fine_limit_bytes);
  static_assert(good_size(fine_limit_bytes + 1) == fine_limit_bytes / 4 * 5);
  static_assert(good_size(largest_block_bytes) == largest_block_bytes);
}

BOOST_AUTO_TEST_CASE(good_size_is_monotone_and_idempotent) {
  std::vector<std::size_t> all = sizes();
  for (const std::size_t base : {largest_block_bytes, std::size_t{PTRDIFF_MAX}, SIZE_MAX - 3 * page_bytes}) {
    for (std::size_t bytes = base - 5; bytes <= base + 5; ++bytes) {
      if (bytes > all.back()) all.push_back(bytes);
    }
  }
  all.insert(all.end(), {SIZE_MAX - page_bytes, SIZE_MAX - page_bytes + 1, SIZE_MAX - 1, SIZE_MAX});
  std::size_t previous = 0;
  BOOST_TEST(exceptions(all,
                        [&previous](std::size_t bytes) {
                          const std::size_t granted = good_size(bytes);
                          const bool monotone = granted >= previous;
                          previous = granted;
                          return monotone && granted >= bytes && good_size(granted) == granted;
                        }) == none,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(nothing_wraps_near_the_largest_size) {
  BOOST_TEST(last_byte(0, 1) == SIZE_MAX);
  BOOST_TEST(last_byte(0, page_bytes) == SIZE_MAX);
  for (std::size_t alignment = 1; alignment != 0; alignment *= 2) {
    for (std::size_t below_max = 0; below_max < 100; ++below_max) {
      const std::size_t bytes = SIZE_MAX - below_max;
      BOOST_REQUIRE(last_byte(bytes, alignment) >= bytes - 1);
    }
  }
  BOOST_TEST(good_size(largest_block_bytes + 1) == largest_block_bytes + page_bytes);
  BOOST_TEST(good_size(SIZE_MAX) == SIZE_MAX);
  BOOST_TEST(good_size(SIZE_MAX - page_bytes) >= SIZE_MAX - page_bytes);
}
