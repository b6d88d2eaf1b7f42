// UTF-8: every character there and back, and the ways a sequence can be wrong.
#include <cistern/detail/base/utf8.hpp>

#include <string_view>

#include <boost/test/unit_test.hpp>

using cistern::detail::decode_utf8;
using cistern::detail::encode_utf8;
using cistern::detail::replacement_character;

BOOST_AUTO_TEST_CASE(every_character_there_and_back) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    char form[4];
    const std::size_t length = encode_utf8(c, form);
    const auto decoded = decode_utf8({form, length});
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    BOOST_REQUIRE(decoded.character == (surrogate ? replacement_character : c));
    BOOST_REQUIRE(decoded.bytes == length);
    BOOST_REQUIRE(length == (c < 0x80 ? 1U : c < 0x800 ? 2U : c < 0x10000 ? 3U : 4U));
    for (std::size_t cut = 1; cut < length; ++cut) BOOST_REQUIRE(decode_utf8({form, cut}).bytes == 1U);
  }
}

BOOST_AUTO_TEST_CASE(invalid_sequences_are_one_byte_of_u_fffd) {
  using namespace std::string_view_literals;
  for (const std::string_view bad : {
           "\x80"sv,
           "\xBF"sv,  // continuation bytes alone
           "\xC0\x80"sv,
           "\xC1\xBF"sv,  // overlong pairs
           "\xE0\x80\x80"sv,
           "\xE0\x9F\xBF"sv,  // overlong triples
           "\xF0\x80\x80\x80"sv,
           "\xF0\x8F\xBF\xBF"sv,
           "\xED\xA0\x80"sv,
           "\xED\xBF\xBF"sv,      // surrogates
           "\xF4\x90\x80\x80"sv,  // above U+10FFFF
           "\xF5\x80\x80\x80"sv,
           "\xFE"sv,
           "\xFF"sv,
           "\xC3\x28"sv,
           "\xE2\x28\xA1"sv,
           "\xE2\x82\x28"sv,
           "\xF0\x9F\x98\x28"sv,
       }) {
    BOOST_TEST((decode_utf8(bad).character == replacement_character));
    BOOST_TEST(decode_utf8(bad).bytes == 1U);
  }
}
