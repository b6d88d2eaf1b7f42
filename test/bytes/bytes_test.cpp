// Copying a few bytes and finding one: every length, every distance between overlapping ranges, every
// position.
#include <cistern/detail/bytes/bytes.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include <boost/test/unit_test.hpp>

using namespace cistern::detail;  // NOLINT(google-build-using-namespace)

namespace {

std::vector<char> numbered(std::size_t size) {
  std::vector<char> bytes(size);
  std::iota(bytes.begin(), bytes.end(), '\1');
  return bytes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_length_is_copied_and_no_byte_more) {
  for (std::size_t bytes = 0; bytes <= 100; ++bytes) {
    const std::vector<char> from = numbered(bytes);  // of exactly this size, for AddressSanitizer
    std::vector<char> to(bytes + 2, 'x');
    copy_bytes(to.data() + 1, from.data(), bytes);
    BOOST_TEST(std::equal(from.begin(), from.end(), to.begin() + 1));
    BOOST_TEST(to.front() == 'x');
    BOOST_TEST(to.back() == 'x');
  }
}

BOOST_AUTO_TEST_CASE(ranges_may_overlap_in_either_direction) {
  for (std::size_t bytes = 0; bytes <= 70; ++bytes) {
    for (std::size_t distance = 0; distance <= bytes; ++distance) {
      const std::vector<char> original = numbered(2 * bytes + 1);
      std::vector<char> up = original;
      copy_bytes(up.data() + distance, up.data(), bytes);
      BOOST_TEST(std::memcmp(up.data() + distance, original.data(), bytes) == 0);
      std::vector<char> down = original;
      copy_bytes(down.data(), down.data() + distance, bytes);
      BOOST_TEST(std::memcmp(down.data(), original.data() + distance, bytes) == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(lengths_known_to_the_compiler) {
  const std::vector<char> from = numbered(40);
  std::array<char, 40> to{};
  copy_bytes(to.data(), from.data(), 0);
  BOOST_TEST(to[0] == '\0');
  copy_bytes(to.data(), from.data(), 5);
  BOOST_TEST(to[4] == '\5');
  BOOST_TEST(to[5] == '\0');
  copy_bytes(to.data(), from.data(), 40);
  BOOST_TEST(to[39] == '\50');
}

BOOST_AUTO_TEST_CASE(matches_has_a_bit_for_each_byte) {
  std::array<char, searched_at_once_bytes> bytes{};
  BOOST_TEST(matches(bytes.data(), '\n') == 0U);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const char wanted : {'\n', '\x80', '\xff'}) {
      bytes[at] = wanted;
      BOOST_TEST(matches(bytes.data(), wanted) == std::uint64_t{1} << at);
    }
    bytes[at] = '\0';
  }
  bytes[3] = bytes[40] = 'a';
  const std::uint64_t found = matches(bytes.data(), 'a');
  BOOST_TEST((found & (~found + 1)) == std::uint64_t{1} << 3);  // of several, the first at least
}

BOOST_AUTO_TEST_CASE(a_byte_is_found_where_it_is_first) {
  const std::vector<char> bytes = {'a', 'b', '\xff', 'b', '\0'};
  const char* const first = bytes.data();
  const char* const last = first + bytes.size();
  BOOST_TEST((find_byte(first, last, 'a') == first));
  BOOST_TEST((find_byte(first, last, 'b') == first + 1));
  BOOST_TEST((find_byte(first, last, '\xff') == first + 2));
  BOOST_TEST((find_byte(first, last, '\0') == first + 4));
  BOOST_TEST((find_byte(first, last, 'c') == nullptr));
  BOOST_TEST((find_byte(first, first + 1, 'b') == nullptr));
  BOOST_TEST((find_byte(first, first, 'a') == nullptr));
  BOOST_TEST((find_byte(nullptr, nullptr, 'a') == nullptr));
}
