// The numbers of the trace format: each comes back as it was put, in as many bytes as the format says, and
// the checksum is the usual one.
#include "../../src/trace/trace_format.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/trace_support.hpp"

using namespace cistern::detail;        // NOLINT(google-build-using-namespace)
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

trace_bytes varint_of(std::uint64_t number) {
  std::array<std::byte, longest_varint_bytes> room{};
  const std::byte* const end = put_varint(room.data(), number);
  return {static_cast<const std::byte*>(room.data()), end};
}

}  // namespace

BOOST_AUTO_TEST_CASE(fixed_numbers_are_little_endian) {
  std::array<std::byte, 8> room{};
  put_little_endian(room.data(), std::uint64_t{0x0102030405060708});
  BOOST_TEST((trace_bytes(room.begin(), room.end()) == bytes_of({8, 7, 6, 5, 4, 3, 2, 1})));
  BOOST_TEST(get_little_endian<std::uint64_t>(room.data()) == 0x0102030405060708U);
  BOOST_TEST(get_little_endian<std::uint32_t>(room.data()) == 0x05060708U);
  put_little_endian(room.data(), std::uint32_t{0xFFFFFFFF});
  BOOST_TEST(get_little_endian<std::uint32_t>(room.data()) == 0xFFFFFFFFU);
  BOOST_TEST((room[4] == std::byte{4}));  // no byte more
}

BOOST_AUTO_TEST_CASE(a_varint_has_seven_bits_a_byte_lowest_first) {
  BOOST_TEST((varint_of(0) == bytes_of({0})));
  BOOST_TEST((varint_of(127) == bytes_of({0x7F})));
  BOOST_TEST((varint_of(128) == bytes_of({0x80, 0x01})));
  BOOST_TEST((varint_of(300) == bytes_of({0xAC, 0x02})));
  const std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
  BOOST_TEST((varint_of(largest) == bytes_of({0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01})));
  BOOST_TEST(varint_of(largest).size() == longest_varint_bytes);
}

BOOST_AUTO_TEST_CASE(small_distances_in_either_direction_are_small_numbers) {
  static_assert(zigzag(0) == 0);
  static_assert(zigzag(static_cast<std::uint64_t>(-1)) == 1);
  static_assert(zigzag(1) == 2);
  static_assert(zigzag(static_cast<std::uint64_t>(-2)) == 3);
  std::mt19937_64 random(1);
  for (int i = 0; i < 1'000; ++i) {
    const std::uint64_t distance = random() >> random() % 64;
    for (const std::uint64_t each : {distance, 0 - distance}) BOOST_TEST(unzigzag(zigzag(each)) == each);
  }
  for (const std::uint64_t edge : {std::uint64_t{1} << 63, (std::uint64_t{1} << 63) - 1}) {
    BOOST_TEST(unzigzag(zigzag(edge)) == edge);
  }
}

BOOST_AUTO_TEST_CASE(the_checksum_is_the_usual_one) {
  const std::string digits = "123456789";
  BOOST_TEST(crc32(std::as_bytes(std::span(digits))) == 0xCBF43926U);
  BOOST_TEST(slow_crc32(std::as_bytes(std::span(digits))) == 0xCBF43926U);
  BOOST_TEST(crc32({}) == 0U);
}

BOOST_AUTO_TEST_CASE(the_checksum_may_be_taken_in_parts) {
  std::mt19937_64 random(2);
  for (const std::size_t size : {1U, 7U, 8U, 9U, 63U, 64U, 65U, 1000U}) {
    trace_bytes bytes(size);
    for (std::byte& each : bytes) each = static_cast<std::byte>(random());
    const std::uint32_t whole = crc32(bytes);
    BOOST_TEST(whole == slow_crc32(bytes));
    for (const std::size_t cut : {std::size_t{0}, size / 3, size}) {
      BOOST_TEST(crc32(std::span(bytes).subspan(cut), crc32(std::span(bytes).first(cut))) == whole);
    }
  }
}
