// cistern::buffer against each row of Go's bytes.Buffer, and construction, assignment and moves.
#include <cistern/buffer.hpp>
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/texts.hpp"

using cistern::buffer;
using cistern::test_support::letters;
using cistern::testing::checking_resource;

namespace {

struct fixture {
  checking_resource memory;
  buffer b{&memory};
};

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void fill(std::span<std::byte> room, std::string_view text) {
  BOOST_REQUIRE(room.size() >= text.size());
  std::memcpy(room.data(), text.data(), text.size());
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(semantics, fixture)

// --- nothing is allocated before there is something to hold ---

BOOST_AUTO_TEST_CASE(nothing_is_allocated_for_nothing) {
  static_assert(std::is_nothrow_default_constructible_v<buffer>);
  static_assert(std::is_nothrow_constructible_v<buffer, std::pmr::memory_resource*>);
  static_assert(std::is_nothrow_constructible_v<buffer, buffer::allocator_type>);
  static_assert(std::is_nothrow_move_constructible_v<buffer>);
  b.append("");
  b.append(std::string_view{});
  b.append(std::span<const std::byte>{});
  b.append(static_cast<const char*>(nullptr), nullptr);
  b.prepend("");
  b.reserve_more(0);
  BOOST_TEST(b.prepare(0).empty());
  b.commit(0);
  b.clear();
  b.reset();
  b.shrink_to_fit();
  b.truncate(0);
  b.consume(9);
  const buffer copy(b, &memory);
  BOOST_TEST(copy.empty());
  BOOST_TEST(memory.allocations() == 0U);
  BOOST_TEST(b.capacity() == 0U);
  BOOST_TEST(b.available() == 0U);
  BOOST_TEST(b.view().empty());
}

BOOST_AUTO_TEST_CASE(null_is_new_delete_and_default_is_the_default_resource) {
  buffer plain(nullptr);
  plain.append("text");
  BOOST_TEST(plain.get_allocator().resource() == std::pmr::new_delete_resource());
  std::pmr::set_default_resource(&memory);
  {
    buffer by_default;
    by_default.append("text");
    BOOST_TEST(by_default.get_allocator().resource() == &memory);
    BOOST_TEST(memory.outstanding_blocks() == 1U);
  }
  std::pmr::set_default_resource(nullptr);
}

// --- the unread part ---

BOOST_AUTO_TEST_CASE(bytes_view_and_size_are_the_unread_part) {
  b.append("hello world");
  BOOST_TEST(b.next(6) == "hello ");
  BOOST_TEST(b.view() == "world");
  BOOST_TEST(text_of(b.bytes()) == "world");
  BOOST_TEST(b.size() == 5U);
  BOOST_TEST(!b.empty());
  BOOST_TEST(static_cast<const void*>(b.view().data()) == static_cast<const void*>(b.bytes().data()));
}

BOOST_AUTO_TEST_CASE(prepare_gives_exactly_what_was_asked_and_commit_appends_it) {
  const auto room = b.prepare(100);
  BOOST_TEST(room.size() == 100U);
  BOOST_TEST(b.empty());
  fill(room, "abc");
  b.commit(3);
  BOOST_TEST(b.view() == "abc");
  BOOST_TEST(b.available() == b.capacity() - 3);
  fill(b.prepare(2), "de");
  b.commit(1);  // less than prepared
  BOOST_TEST(b.view() == "abcd");
}

BOOST_AUTO_TEST_CASE(writing_into_what_is_available_moves_nothing) {
  b.append("start");
  const char* const data = b.view().data();
  const std::size_t available = b.available();
  b.append(letters(available));
  BOOST_TEST(b.available() == 0U);
  BOOST_TEST(static_cast<const void*>(b.view().data()) == static_cast<const void*>(data));
  BOOST_TEST(memory.allocations() == 1U);
}

BOOST_AUTO_TEST_CASE(peek_does_not_advance_and_is_short_if_short) {
  b.append("abcdef");
  BOOST_TEST(b.peek(3) == "abc");
  BOOST_TEST(b.next(2) == "ab");
  BOOST_TEST(b.peek(3) == "cde");  // after a read too
  BOOST_TEST(b.peek(99) == "cdef");
  BOOST_TEST(b.peek(0).empty());
  BOOST_TEST(b.size() == 4U);
}

BOOST_AUTO_TEST_CASE(truncate_keeps_the_first_unread_bytes) {
  b.append("abcdef");
  b.consume(2);
  BOOST_CHECK_THROW(b.truncate(5), std::out_of_range);
  BOOST_TEST(b.view() == "cdef");
  b.truncate(4);
  BOOST_TEST(b.view() == "cdef");
  b.truncate(1);
  BOOST_TEST(b.view() == "c");
  b.append("x");
  BOOST_TEST(b.view() == "cx");
  const std::size_t capacity = b.capacity();
  b.truncate(0);
  BOOST_TEST(b.empty());
  BOOST_TEST(b.available() == capacity);  // as after clear(): from the start of the block
  BOOST_CHECK_THROW(b.truncate(1), std::out_of_range);
}

BOOST_AUTO_TEST_CASE(clear_keeps_the_block_and_reset_returns_it) {
  b.append(letters(100));
  const std::size_t capacity = b.capacity();
  b.clear();
  BOOST_TEST(b.empty());
  BOOST_TEST(b.capacity() == capacity);
  BOOST_TEST(memory.outstanding_blocks() == 1U);
  b.reset();
  BOOST_TEST(b.capacity() == 0U);
  BOOST_TEST(memory.outstanding_blocks() == 0U);
  b.append("again");
  BOOST_TEST(b.view() == "again");
}

BOOST_AUTO_TEST_CASE(after_reserve_more_that_many_bytes_allocate_nothing) {
  b.append(letters(300));
  b.consume(299);
  b.reserve_more(5'000);
  const auto allocations = memory.allocations();
  for (int i = 0; i < 5'000; ++i) b.push_back('x');
  BOOST_TEST(memory.allocations() == allocations);
  BOOST_TEST(b.size() == 5'001U);
}

BOOST_AUTO_TEST_CASE(reserving_the_impossible_is_a_length_error) {
  b.append("abc");
  BOOST_CHECK_THROW(b.reserve_more(SIZE_MAX), std::length_error);
  BOOST_CHECK_THROW(b.reserve_more(SIZE_MAX - 3), std::length_error);
  BOOST_CHECK_THROW((void)b.prepare(SIZE_MAX), std::length_error);
  BOOST_CHECK_THROW((void)b.prepare(b.max_size() - 2), std::length_error);
  BOOST_CHECK_THROW(b.reserve_more(b.max_size() - 3), std::bad_alloc);  // allowed, but there is no such block
  BOOST_TEST(b.view() == "abc");
  b.append("d");
  BOOST_TEST(b.view() == "abcd");
}

BOOST_AUTO_TEST_CASE(shrink_to_fit_moves_to_the_smallest_block) {
  b.append(letters(1'000));
  b.consume(990);
  const std::string rest(b.view());
  b.shrink_to_fit();
  BOOST_TEST(b.view() == rest);
  BOOST_TEST(b.capacity() == cistern::detail::good_size(10));
  b.clear();
  b.shrink_to_fit();
  BOOST_TEST(b.capacity() == 0U);
}

// --- writing ---

BOOST_AUTO_TEST_CASE(every_form_of_append) {
  const std::string text = "cd";
  b.append("ab").append(std::as_bytes(std::span(text)));
  b.append(text.data(), text.data() + text.size());
  b.push_back('!');
  std::fill_n(std::back_inserter(b), 3, '?');
  BOOST_TEST(b.view() == "abcdcd!???");
}

BOOST_AUTO_TEST_CASE(appends_of_every_length) {
  std::string expected;
  for (std::size_t n = 0; n < 300; ++n) {
    const std::string piece = letters(n);
    b.append(piece);
    expected += piece;
  }
  BOOST_TEST(b.view() == expected);
}

BOOST_AUTO_TEST_CASE(appending_a_part_of_itself) {
  for (const std::size_t read_first : {0U, 7U, 50U}) {
    buffer self(&memory);
    self.append(letters(80));
    self.consume(read_first);
    std::string expected(self.view());
    for (int round = 0; round < 12; ++round) {  // in place, across slides and across reallocations
      self.append(self.view().substr(3, 20));
      expected += expected.substr(3, 20);
      self.append(self.view());
      expected += expected;
      BOOST_TEST((self.view() == expected));
      self.consume(self.size() / 2);
      expected.erase(0, expected.size() / 2);
    }
  }
}

BOOST_AUTO_TEST_CASE(appending_what_was_just_read) {
  b.reserve_more(112);
  b.append(letters(112));
  BOOST_TEST(b.available() == 0U);
  const std::string_view read = b.next(100);  // a slide to the front would overwrite it
  const std::string expected = std::string(b.view()) + std::string(read);
  b.append(read);
  BOOST_TEST(b.view() == expected);
}

BOOST_AUTO_TEST_CASE(appending_a_part_of_itself_across_a_slide_and_a_reallocation) {
  const std::string text = letters(1'000);
  buffer slid(text + letters(24), &memory);  // a full block of 1,024
  slid.consume(700);
  const std::size_t block = slid.capacity();
  const std::string_view last = slid.view().substr(slid.size() - 100);
  const std::string expected = std::string(slid.view()) + std::string(last);
  slid.append(last);
  BOOST_TEST(slid.capacity() == block);  // it moved to the front, its own source with it
  BOOST_TEST((slid.view() == expected));
  buffer grown(text + letters(24), &memory);
  grown.append(grown.view().substr(3, 500));
  BOOST_TEST(grown.capacity() > block);
  BOOST_TEST((grown.view() == text + letters(24) + (text + letters(24)).substr(3, 500)));
}

BOOST_AUTO_TEST_CASE(push_back_begins_grows_and_refuses_as_append_does) {
  for (std::size_t i = 0; i < 5'000; ++i) {
    b.push_back(static_cast<char>('a' + i % 26));
    BOOST_TEST(b.check_invariants());
  }
  BOOST_TEST((b.view() == letters(5'000)));
  buffer appended(&memory);
  for (std::size_t i = 0; i < 5'000; ++i) appended.append("x");
  BOOST_TEST(b.capacity() == appended.capacity());
  for (const std::size_t limit : {0U, 1U, 100U, 300U}) {
    buffer limited(&memory);
    limited.max_size(limit);
    for (std::size_t i = 0; i < limit; ++i) limited.push_back('x');
    BOOST_CHECK_THROW(limited.push_back('y'), std::length_error);
    BOOST_TEST(limited.size() == limit);
    limited.consume(1);
    if (limit != 0) limited.push_back('y');
    BOOST_TEST(limited.size() == limit);
    BOOST_TEST(limited.check_invariants());
  }
}

BOOST_AUTO_TEST_CASE(appending_across_what_was_read_and_what_was_not) {
  b.reserve_more(112);
  b.append(letters(112));
  const char* const start = b.view().data();
  b.consume(60);
  const std::string_view across(start + 50, 30);
  const std::string expected = std::string(b.view()) + std::string(across);
  b.append(across);
  BOOST_TEST(b.view() == expected);
}

BOOST_AUTO_TEST_CASE(append_utf8_encodes_and_replaces) {
  for (const char32_t c : {U'a', U'é', U'€', U'😀', char32_t{0xD800}, char32_t{0x110000}, char32_t(-1)})
    b.append_utf8(c);
  BOOST_TEST(b.view() == "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

BOOST_AUTO_TEST_CASE(prepend_puts_bytes_in_front) {
  b.append("body");
  b.prepend("head ");
  BOOST_TEST(b.view() == "head body");
  b.consume(2);
  const char* const data = b.view().data();
  b.prepend("HE");  // into the room that reading left
  BOOST_TEST(b.view() == "HEad body");
  BOOST_TEST(static_cast<const void*>(b.view().data()) == static_cast<const void*>(data - 2));
  b.prepend(b.view());
  BOOST_TEST(b.view() == "HEad bodyHEad body");
  const std::string_view read = b.next(9);
  b.prepend(read.substr(2, 5));
  BOOST_TEST(b.view() == "ad boHEad body");
  buffer fresh(&memory);
  fresh.prepend("only");
  BOOST_TEST(fresh.view() == "only");
}

BOOST_AUTO_TEST_CASE(prepending_again_and_again_is_amortised) {
  std::string expected;
  std::size_t moves = 0;
  for (int i = 0; i < 20'000; ++i) {
    const char* const before = b.view().data();
    b.prepend("ab");
    moves += i != 0 && b.view().data() != before - 2 ? 1U : 0U;
    expected.append("ba");
  }
  std::reverse(expected.begin(), expected.end());
  BOOST_TEST((b.view() == expected));
  BOOST_TEST(moves < 40U);
  BOOST_TEST(memory.allocations() < 40U);
}

// --- reading ---

BOOST_AUTO_TEST_CASE(read_copies_what_there_is) {
  b.append("abcde");
  std::array<std::byte, 3> out{};
  BOOST_TEST(b.read({}) == 0U);
  BOOST_TEST(b.read(out) == 3U);
  BOOST_TEST(text_of(out) == "abc");
  BOOST_TEST(b.read(out) == 2U);
  BOOST_TEST(text_of(std::span(out).first(2)) == "de");
  BOOST_TEST(b.read(out) == 0U);
}

BOOST_AUTO_TEST_CASE(next_and_consume_clamp) {
  b.append("abcde");
  BOOST_TEST(b.next(2) == "ab");
  b.consume(1);
  BOOST_TEST(b.next(99) == "de");
  BOOST_TEST(b.next(99).empty());
  b.consume(SIZE_MAX);
  BOOST_TEST(b.empty());
}

BOOST_AUTO_TEST_CASE(what_was_read_stays_valid_until_a_write) {
  b.append("first second");
  const std::string_view first = b.next(6);
  const std::string_view second = b.next(99);
  BOOST_TEST(first == "first ");
  BOOST_TEST(second == "second");
}

BOOST_AUTO_TEST_CASE(read_byte_ends_with_nothing) {
  b.append("\xFFz");
  BOOST_TEST((b.read_byte() == '\xFF'));
  BOOST_TEST((b.read_byte() == 'z'));
  BOOST_TEST(!b.read_byte().has_value());
}

BOOST_AUTO_TEST_CASE(read_utf8_decodes_and_replaces) {
  using character = buffer::utf8_char;
  b.append("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xFF\xE2\x82");
  BOOST_TEST((b.read_utf8() == character{U'a', 1}));
  BOOST_TEST((b.read_utf8() == character{U'é', 2}));
  BOOST_TEST((b.read_utf8() == character{U'€', 3}));
  BOOST_TEST((b.read_utf8() == character{U'😀', 4}));
  BOOST_TEST((b.read_utf8() == character{U'\uFFFD', 1}));  // 0xFF
  BOOST_TEST((b.read_utf8() == character{U'\uFFFD', 1}));  // a cut sequence, byte by byte
  BOOST_TEST((b.read_utf8() == character{U'\uFFFD', 1}));
  BOOST_TEST(!b.read_utf8().has_value());
}

BOOST_AUTO_TEST_CASE(read_until_includes_the_delimiter_or_gives_the_rest) {
  b.append("one\n\ntwo");
  auto line = b.read_until('\n');
  BOOST_TEST(line.view == "one\n");
  BOOST_TEST(line.found);
  line = b.read_until('\n');
  BOOST_TEST(line.view == "\n");
  BOOST_TEST(line.found);
  line = b.read_until('\n');
  BOOST_TEST(line.view == "two");
  BOOST_TEST(!line.found);
  line = b.read_until('\n');
  BOOST_TEST(line.view.empty());
  BOOST_TEST(!line.found);
}

BOOST_AUTO_TEST_CASE(read_until_finds_the_delimiter_at_every_distance) {
  for (std::size_t length = 0; length < 200; ++length) {
    for (const std::size_t behind : {0U, 1U, 63U, 64U, 200U}) {
      b.clear();
      b.append(std::string(length, 'x') + "\xFE" + std::string(behind, '\xFE'));
      const auto line = b.read_until('\xFE');
      BOOST_REQUIRE(line.found);
      BOOST_REQUIRE_EQUAL(line.view.size(), length + 1);
      BOOST_REQUIRE_EQUAL(b.size(), behind);
    }
  }
}

BOOST_AUTO_TEST_CASE(unread_byte_only_right_after_a_read) {
  BOOST_TEST(!b.unread_byte());
  b.append("abcd");
  BOOST_TEST(!b.unread_byte());
  b.consume(2);
  BOOST_TEST(b.unread_byte());
  BOOST_TEST(b.view() == "bcd");
  BOOST_TEST(!b.unread_byte());  // only one
  std::array<std::byte, 1> out{};
  const auto reads = std::vector<std::function<void()>>{
      [&] { b.read(out); },
      [&] { b.next(1); },
      [&] { b.consume(1); },
      [&] { b.read_byte(); },
      [&] { b.read_utf8(); },
      [&] { b.read_until('b'); },
      [&] { b.read_until('?'); },  // found nothing, but read the rest
      [&] { b.get_be<std::uint8_t>(); },
  };
  for (const auto& read : reads) {
    b.clear();
    b.append("bcd");
    read();
    BOOST_TEST(b.unread_byte());
  }
}

BOOST_AUTO_TEST_CASE(unread_utf8_only_right_after_read_utf8) {
  BOOST_TEST(!b.unread_utf8());
  b.append("€uro");
  b.read_utf8();
  BOOST_TEST(b.unread_utf8());
  BOOST_TEST(b.view() == "€uro");
  BOOST_TEST(!b.unread_utf8());
  b.read_byte();
  BOOST_TEST(!b.unread_utf8());
  b.unread_byte();
  b.read_utf8();
  BOOST_TEST(b.unread_byte());  // one byte of the three
  BOOST_TEST(b.view() == "\xACuro");
  BOOST_TEST(!b.unread_utf8());
}

BOOST_AUTO_TEST_CASE(writes_moves_and_failed_reads_end_the_right_to_un_read) {
  std::array<std::byte, 4> out{};
  const auto endings = std::vector<std::function<void()>>{
      [&] { b.append("x"); },
      [&] { b.append(""); },
      [&] { b.push_back('x'); },
      [&] { (void)b.prepare(1); },
      [&] { b.commit(0); },
      [&] { b.append_utf8(U'x'); },
      [&] { b.prepend("x"); },
      [&] { b.prepend(""); },
      [&] { b.put_be<std::uint16_t>(1); },
      [&] { b.reserve_more(1); },
      [&] { b.reserve_more(100'000); },  // Go loses the byte here
      [&] { b.truncate(1); },
      [&] { b.clear(); },
      [&] { b.reset(); },
      [&] { b.shrink_to_fit(); },
      [&] { b.read({}); },
      [&] { b.next(0); },
      [&] { b.consume(0); },
      [&] { b.get_be<std::uint64_t>(); },
      [&] { b.consume(99), b.read(out); },
      [&] { b.consume(99), b.next(1); },
      [&] { b.consume(99), b.read_byte(); },
      [&] { b.consume(99), b.read_utf8(); },
      [&] { b.consume(99), b.read_until('x'); },  // Go un-reads an older byte here
  };
  for (const auto& end : endings) {
    b.clear();
    b.append("abcd");
    b.read_utf8();
    end();
    const std::string before(b.view());
    BOOST_TEST(!b.unread_byte());
    BOOST_TEST(!b.unread_utf8());
    BOOST_TEST(b.view() == before);
  }
}

BOOST_AUTO_TEST_CASE(go_quirk_unread_byte_after_a_grow_that_reallocated_loses_the_byte) {
  b.append("abcd");
  b.consume(1);
  const std::size_t capacity = b.capacity();
  b.reserve_more(10 * capacity);
  BOOST_TEST(b.capacity() > capacity);
  BOOST_TEST(!b.unread_byte());
  BOOST_TEST(b.view() == "bcd");
}

BOOST_AUTO_TEST_CASE(go_quirk_reading_to_a_delimiter_in_a_drained_buffer_lets_an_older_byte_be_un_read) {
  b.append("abcd");
  b.consume(4);
  const buffer::line line = b.read_until('x');
  BOOST_TEST(!line.found);
  BOOST_TEST(line.view.empty());
  BOOST_TEST(!b.unread_byte());
  BOOST_TEST(b.empty());
}

BOOST_AUTO_TEST_CASE(looking_does_not_end_the_right_to_un_read) {
  b.append("abc");
  b.consume(1);
  (void)b.view(), (void)b.bytes(), (void)b.peek(1), (void)b.size(), (void)b.available();
  b.max_size(1'000);
  BOOST_TEST(b.unread_byte());
  BOOST_TEST(b.view() == "abc");
}

// --- the limit ---

BOOST_AUTO_TEST_CASE(max_size_bounds_the_unread_part) {
  b.max_size(10);
  BOOST_TEST(b.max_size() == 10U);
  b.append("0123456789");
  BOOST_CHECK_THROW(b.append("x"), std::length_error);
  BOOST_CHECK_THROW(b.push_back('x'), std::length_error);
  BOOST_CHECK_THROW((void)b.prepare(1), std::length_error);
  BOOST_CHECK_THROW(b.reserve_more(1), std::length_error);
  BOOST_CHECK_THROW(b.prepend("x"), std::length_error);
  BOOST_CHECK_THROW(b.append(b.view().substr(0, 1)), std::length_error);
  BOOST_TEST(b.view() == "0123456789");
  b.consume(3);
  b.append("abc");
  BOOST_CHECK_THROW(b.push_back('x'), std::length_error);
  BOOST_TEST(b.view() == "3456789abc");
  b.consume(1);
  BOOST_TEST(b.unread_byte());
  BOOST_CHECK_THROW(b.push_back('x'), std::length_error);
  b.max_size(4);  // what is there stays
  BOOST_TEST(b.view() == "3456789abc");
  BOOST_TEST(b.available() == 0U);
  BOOST_CHECK_THROW(b.push_back('x'), std::length_error);
  b.max_size(SIZE_MAX);
  b.append(letters(100));
  BOOST_TEST(b.size() == 110U);
}

BOOST_AUTO_TEST_CASE(max_size_bounds_what_is_available) {
  b.append("ab");
  b.max_size(5);
  BOOST_TEST(b.available() == 3U);
  b.consume(1);
  BOOST_TEST(b.available() == 4U);
  b.append("cdef");
  BOOST_CHECK_THROW(b.append("g"), std::length_error);
  BOOST_TEST(b.view() == "bcdef");
}

// --- copies, moves, swaps ---

BOOST_AUTO_TEST_CASE(a_copy_holds_the_unread_part_on_the_default_resource) {
  b.append("abcdef");
  b.consume(2);
  b.max_size(77);
  const buffer copy(b);
  BOOST_TEST(copy.view() == "cdef");
  BOOST_TEST(copy.max_size() == 77U);
  BOOST_TEST(copy.get_allocator().resource() == std::pmr::get_default_resource());
  const buffer placed(b, &memory);
  BOOST_TEST(placed.view() == "cdef");
  BOOST_TEST(placed.get_allocator().resource() == &memory);
  BOOST_TEST(b.view() == "cdef");
}

BOOST_AUTO_TEST_CASE(construction_from_text) {
  const buffer from("some text", &memory);
  BOOST_TEST(from.view() == "some text");
  const buffer plain = std::string_view("plain");
  BOOST_TEST(plain.view() == "plain");
}

BOOST_AUTO_TEST_CASE(a_move_keeps_resource_pointers_prepared_region_and_un_read) {
  b.append("abcdef");
  b.consume(2);
  const auto room = b.prepare(40);
  const char* const data = b.view().data();
  const auto allocations = memory.allocations();
  buffer moved(std::move(b));
  fill(room, "GHI");
  moved.commit(3);
  BOOST_TEST(moved.view() == "cdefGHI");
  BOOST_TEST(static_cast<const void*>(moved.view().data()) == static_cast<const void*>(data));
  BOOST_TEST(moved.get_allocator().resource() == &memory);
  BOOST_TEST(memory.allocations() == allocations);
  BOOST_TEST(b.empty());  // NOLINT(bugprone-use-after-move): promised
  BOOST_TEST(b.capacity() == 0U);
  b.append("reused");
  BOOST_TEST(b.view() == "reused");
  moved.consume(1);
  buffer again(std::move(moved));
  BOOST_TEST(again.unread_byte());
}

BOOST_AUTO_TEST_CASE(a_move_to_an_equal_resource_steals) {
  b.append("abcdef");
  const char* const data = b.view().data();
  buffer moved(std::move(b), &memory);
  BOOST_TEST(static_cast<const void*>(moved.view().data()) == static_cast<const void*>(data));
  buffer assigned("old", &memory);
  assigned = std::move(moved);
  BOOST_TEST(static_cast<const void*>(assigned.view().data()) == static_cast<const void*>(data));
  BOOST_TEST(moved.empty());  // NOLINT(bugprone-use-after-move)
}

BOOST_AUTO_TEST_CASE(a_move_to_an_unequal_resource_copies) {
  checking_resource other;
  b.append("abcdef");
  b.consume(1);
  buffer moved(std::move(b), &other);
  BOOST_TEST(moved.view() == "bcdef");
  BOOST_TEST(moved.get_allocator().resource() == &other);
  BOOST_TEST(b.empty());  // NOLINT(bugprone-use-after-move)
  buffer target(&memory);
  target = std::move(moved);
  BOOST_TEST(target.view() == "bcdef");
  BOOST_TEST(target.get_allocator().resource() == &memory);
  BOOST_TEST(moved.empty());  // NOLINT(bugprone-use-after-move)
}

BOOST_AUTO_TEST_CASE(copy_assignment_keeps_the_resource_and_the_block_that_suffices) {
  buffer target(letters(500), &memory);
  const auto allocations = memory.allocations();
  const buffer small = std::string_view("small");
  target = small;
  BOOST_TEST(target.view() == "small");
  BOOST_TEST(memory.allocations() == allocations);
  BOOST_TEST(target.get_allocator().resource() == &memory);
  const buffer large = std::string_view(letters(5'000));
  target = large;
  BOOST_TEST((target.view() == large.view()));
  BOOST_TEST(target.get_allocator().resource() == &memory);
  const buffer& self = target;
  target = self;
  BOOST_TEST((target.view() == large.view()));
  buffer& same = target;
  target = std::move(same);
  BOOST_TEST((target.view() == large.view()));
  target = buffer(&memory);
  BOOST_TEST(target.empty());
}

BOOST_AUTO_TEST_CASE(swap_exchanges_resources_too) {
  checking_resource other;
  buffer second("second", &other);
  b.append("first");
  swap(b, second);
  BOOST_TEST(b.view() == "second");
  BOOST_TEST(b.get_allocator().resource() == &other);
  BOOST_TEST(second.view() == "first");
  b.append(letters(100));  // each grows and dies on its own resource
  second.append(letters(100));
  b.swap(b);
  BOOST_TEST(b.size() == 106U);
  b.reset();  // before `other` goes
}

BOOST_AUTO_TEST_CASE(pmr_containers_hand_their_resource_down) {
  std::pmr::vector<buffer> all(&memory);
  all.emplace_back("one");
  all.emplace_back();
  all.push_back(buffer("two"));
  all.resize(10);
  for (const buffer& each : all) BOOST_TEST(each.get_allocator().resource() == &memory);
  BOOST_TEST(all[0].view() == "one");
  BOOST_TEST(all[2].view() == "two");
  static_assert(std::uses_allocator_v<buffer, std::pmr::polymorphic_allocator<>>);
}

BOOST_AUTO_TEST_CASE(a_commit_of_what_is_not_prepared_is_refused) {
  BOOST_CHECK_THROW(b.commit(1), std::logic_error);
  fill(b.prepare(10), "0123456789");
  BOOST_TEST(b.prepared() == 10U);
  BOOST_CHECK_THROW(b.commit(11), std::logic_error);
  b.commit(4);
  BOOST_TEST(b.prepared() == 0U);
  BOOST_CHECK_THROW(b.commit(1), std::logic_error);
  BOOST_TEST(b.view() == "0123");
}

// What a write has overwritten, or left where the buffer is no more, must not become part of it.
BOOST_AUTO_TEST_CASE(a_write_ends_the_prepared_region_and_reading_does_not) {
  const auto endings = std::vector<std::function<void()>>{
      [&] { b.append("x"); },
      [&] { b.append(std::string(5'000, 'x')); },
      [&] { b.append(b.view()); },
      [&] { b.push_back('x'); },
      [&] { b.append_utf8(U'x'); },
      [&] { b.prepend("x"); },
      [&] { b.put_be<std::uint16_t>(1); },
      [&] { b.reserve_more(1); },
      [&] { b.reserve_more(100'000); },
      [&] { (void)b.prepare(0); },
      [&] { b.truncate(1); },
      [&] { b.clear(); },
      [&] { b.reset(); },
      [&] { b.consume(3), b.shrink_to_fit(); },
      [&] { b = buffer("other"); },
      [&] { const buffer taken(std::move(b)); },
      [&] { const buffer taken(std::move(b), std::pmr::new_delete_resource()); },
  };
  for (const auto& end : endings) {
    b.clear();
    b.append("abcd");
    fill(b.prepare(8), "prepared");
    end();
    const std::string before(b.view());
    BOOST_TEST(b.prepared() == 0U);
    BOOST_CHECK_THROW(b.commit(8), std::logic_error);
    BOOST_TEST(b.view() == before);
    BOOST_TEST(b.check_invariants());
    b.append("|");
    BOOST_TEST(b.view() == before + "|");
  }
  const auto readings = std::vector<std::function<void()>>{
      [&] { b.next(2); },
      [&] { b.consume(4); },
      [&] { b.read_byte(), b.unread_byte(); },
      [&] { b.read_utf8(); },
      [&] { b.read_until('c'); },
      [&] { b.get_be<std::uint64_t>(); },
      [&] { b.write_to([](std::span<const std::byte> bytes) { return bytes.size(); }); },
      [&] { buffer(std::move(b)).swap(b); },
  };
  for (const auto& read : readings) {
    b.clear();
    b.append("abcd");
    fill(b.prepare(8), "prepared");
    read();
    const std::string before(b.view());
    BOOST_TEST(b.prepared() == 8U);
    b.commit(8);
    BOOST_TEST(b.view() == before + "prepared");
    BOOST_TEST(b.check_invariants());
  }
}

BOOST_AUTO_TEST_CASE(asan_reports_reading_past_the_view) {
  if constexpr (cistern::detail::asan_build) {
    using cistern::test_support::run_and_die;
    const auto reported = [](const std::function<void()>& action) {
      return run_and_die(action).stderr_text.find("AddressSanitizer") != std::string::npos;
    };
    const auto touch = [](const char* at) { (void)*static_cast<const volatile char*>(at); };
    b.append(letters(99));
    BOOST_TEST(reported([&] { touch(b.view().data() + 99); }));
    BOOST_TEST(reported([&] { touch(b.view().data() + b.capacity() - 1); }));
    BOOST_TEST(!reported([&] { touch(b.view().data() + 98); }));
    BOOST_TEST(reported([&] {
      const auto room = b.prepare(5);
      *const_cast<volatile std::byte*>(room.data() + 5) = std::byte{1};  // behind what was prepared
    }));
    BOOST_TEST(reported([&] {
      const auto room = b.prepare(5);
      b.commit(2);
      *const_cast<volatile std::byte*>(room.data() + 2) = std::byte{1};  // after the commit
    }));
    BOOST_TEST(reported([&] {
      b.truncate(50);
      touch(b.view().data() + 50);
    }));
    const char* const data = b.view().data();
    BOOST_TEST(reported([&] {
      b.clear();
      touch(data);
    }));
    BOOST_TEST(reported([&] {
      b.reserve_more(10'000);
      touch(data);
    }));
  }
}

BOOST_AUTO_TEST_SUITE_END()

// --- integers ---

template <class T>
void check_integer() {
  buffer b(nullptr);
  using limits = std::numeric_limits<T>;
  const auto pattern = static_cast<T>(0x0123456789ABCDEFULL);
  for (const T value : {limits::min(), limits::max(), T(0), T(1), pattern}) {
    b.clear();
    b.put_be(value);
    b.put_le(value);
    BOOST_TEST(b.size() == 2 * sizeof(T));
    const std::string big(b.peek(sizeof(T)));
    std::string little(b.view().substr(sizeof(T)));
    for (std::size_t i = 0; i < sizeof(T); ++i) {  // against shifts, not against the same byte order code
      const auto expected = static_cast<unsigned char>(static_cast<std::uint64_t>(value) >> (8 * i));
      BOOST_TEST(static_cast<unsigned char>(little[i]) == expected);
      BOOST_TEST(static_cast<unsigned char>(big[sizeof(T) - 1 - i]) == expected);
    }
    BOOST_TEST((b.get_be<T>() == value));
    BOOST_TEST((b.get_le<T>() == value));
    BOOST_TEST(!b.get_be<T>().has_value());
  }
  b.append(std::string(sizeof(T) - 1, 'x'));
  BOOST_TEST(!b.get_le<T>().has_value());
  BOOST_TEST(b.size() == sizeof(T) - 1);  // too few bytes stay
}

BOOST_AUTO_TEST_CASE(integers_of_every_width) {
  check_integer<bool>();
  check_integer<char>();
  check_integer<signed char>();
  check_integer<unsigned char>();
  check_integer<wchar_t>();
  check_integer<char8_t>();
  check_integer<char16_t>();
  check_integer<char32_t>();
  check_integer<short>();
  check_integer<unsigned short>();
  check_integer<int>();
  check_integer<unsigned>();
  check_integer<long>();
  check_integer<unsigned long>();
  check_integer<long long>();
  check_integer<unsigned long long>();
}

BOOST_AUTO_TEST_CASE(a_bool_is_any_bit) {
  buffer b(std::string_view("\x02", 1));
  BOOST_TEST((b.get_be<bool>() == true));
}
