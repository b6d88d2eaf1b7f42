// cistern::chain: blocks that change hands, bytes that stay where they are.
#include <cistern/chain.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>

#include <cstring>
#include <deque>
#include <functional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

using cistern::buffer;
using cistern::chain;
using cistern::chain_options;
using cistern::testing::checking_resource;

namespace {

std::string letters(std::size_t n) {
  std::string text(n, '\0');
  for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>('a' + i % 26);
  return text;
}

std::string text_of(const chain& c) {
  BOOST_REQUIRE(c.check_invariants());
  std::string text;
  c.for_each([&](std::span<const std::byte> piece) {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  BOOST_REQUIRE_EQUAL(text.size(), c.size());
  return text;
}

std::vector<const std::byte*> places_of(const chain& c) {
  std::vector<const std::byte*> places;
  c.for_each([&](std::span<const std::byte> piece) { places.push_back(piece.data()); });
  return places;
}

void write(std::span<std::byte> room, std::string_view text) {
  if (!text.empty()) std::memcpy(room.data(), text.data(), text.size());
}

struct fixture {
  checking_resource memory;
  chain c{&memory, {.block_bytes = 256}};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(chains, fixture)

BOOST_AUTO_TEST_CASE(an_empty_chain_holds_nothing) {
  static_assert(!std::is_copy_constructible_v<chain> && std::is_nothrow_move_constructible_v<chain> &&
                std::is_nothrow_move_assignable_v<chain> && std::is_nothrow_default_constructible_v<chain>);
  c.append("");
  c.prepend("");
  BOOST_TEST(c.prepare(0).empty());
  c.commit(0);
  c.consume(5);
  c.splice(chain(&memory));
  c.prepend(chain(&memory));
  c.adopt(buffer(&memory));
  BOOST_TEST(c.split(3).empty());
  BOOST_TEST(c.flatten().empty());
  BOOST_TEST(c.front().empty());
  BOOST_TEST(c.empty());
  BOOST_TEST(c.block_count() == 0U);
  BOOST_TEST(memory.allocations() == 0U);
}

BOOST_AUTO_TEST_CASE(null_is_new_delete_and_options_are_checked) {
  BOOST_TEST(chain(nullptr).get_allocator().resource() == std::pmr::new_delete_resource());
  BOOST_TEST((c.options() == chain_options{256}));
  for (const std::size_t wrong : {std::size_t{0}, std::size_t{255}, (std::size_t{1} << 40) + 1, SIZE_MAX}) {
    try {
      const chain refused(&memory, {.block_bytes = wrong});
      BOOST_ERROR("accepted " << wrong);
    } catch (const std::invalid_argument& error) {
      BOOST_TEST(std::string(error.what()).find("block_bytes is " + std::to_string(wrong)) !=
                 std::string::npos);
    }
  }
}

BOOST_AUTO_TEST_CASE(appending_never_moves_what_is_there) {
  std::string expected;
  std::set<const std::byte*> places;
  for (int i = 0; i < 100; ++i) {
    c.append(letters(77));
    expected += letters(77);
    const auto now = places_of(c);
    for (const std::byte* place : places) BOOST_TEST((std::find(now.begin(), now.end(), place) != now.end()));
    places.insert(now.begin(), now.end());
  }
  BOOST_TEST(text_of(c) == expected);
  const std::size_t room = 256 - chain::header_bytes;
  BOOST_TEST(c.block_count() == (expected.size() + room - 1) / room);  // every block is filled
  BOOST_TEST(memory.outstanding_bytes() == 256 * c.block_count());     // and is one block of a pool
}

BOOST_AUTO_TEST_CASE(a_piece_of_itself_can_be_appended) {
  c.append(letters(500));
  const auto front = c.front();
  c.append(front);
  BOOST_TEST(text_of(c) == letters(500) + letters(500).substr(0, front.size()));
}

BOOST_AUTO_TEST_CASE(prepare_gives_contiguous_room) {
  c.append("abc");
  write(c.prepare(1'000), letters(1'000));  // larger than a block
  BOOST_TEST(c.size() == 3U);
  c.commit(1'000);
  write(c.prepare(10), "0123456789");
  c.commit(4);
  BOOST_TEST(text_of(c) == "abc" + letters(1'000) + "0123");
  (void)c.prepare(100'000);
  const std::size_t blocks = memory.outstanding_blocks();
  (void)c.prepare(200'000);  // unused room is not heaped up
  BOOST_TEST(memory.outstanding_blocks() == blocks);
}

BOOST_AUTO_TEST_CASE(a_prepared_region_survives_reading_and_moving) {
  for (const std::size_t n : {10U, 1'000U}) {  // in the last block; in a block of its own
    c.clear();
    c.append("abc");
    const auto room = c.prepare(n);
    c.consume(3);
    chain moved(std::move(c));
    write(room, "0123456789");
    moved.commit(10);
    BOOST_TEST(text_of(moved) == "0123456789");
    c = std::move(moved);
  }
}

BOOST_AUTO_TEST_CASE(prepending_uses_the_room_in_front) {
  c.append("body");
  c.prepend("head ");
  const auto blocks = memory.outstanding_blocks();
  c.prepend("a ");
  BOOST_TEST(memory.outstanding_blocks() == blocks);
  BOOST_TEST(text_of(c) == "a head body");
  c.prepend(letters(5'000));
  BOOST_TEST(text_of(c) == letters(5'000) + "a head body");
  c.consume(4'999);
  c.prepend(c.front());
  BOOST_TEST(text_of(c) == "hha head body");
}

BOOST_AUTO_TEST_CASE(adopting_a_buffer_takes_its_block) {
  checking_resource other;
  buffer b("xx" + letters(10'000), &other);
  b.consume(2);
  const auto* const place = b.bytes().data();
  c.append("before ");
  const auto allocated = memory.allocated_bytes();
  c.adopt(std::move(b));
  BOOST_TEST(b.empty());  // NOLINT(bugprone-use-after-move): promised
  BOOST_TEST(b.capacity() == 0U);
  BOOST_TEST(text_of(c) == "before " + letters(10'000));
  BOOST_TEST((places_of(c)[1] == place));
  BOOST_TEST(memory.allocated_bytes() - allocated < 100U);  // a header
  c.append(" behind");                                      // into the room left in the adopted block
  BOOST_TEST(text_of(c) == "before " + letters(10'000) + " behind");
  c.clear();
  BOOST_TEST(other.outstanding_blocks() == 0U);
  BOOST_TEST(memory.outstanding_blocks() == 0U);
}

BOOST_AUTO_TEST_CASE(splicing_moves_blocks_between_resources) {
  checking_resource other;
  chain d(&other, {.block_bytes = 512});
  c.append(letters(1'000));
  d.append(letters(2'000));
  auto places = places_of(c);
  const auto more = places_of(d);
  places.insert(places.end(), more.begin(), more.end());
  const auto calls = memory.allocations() + other.allocations();
  c.splice(std::move(d));
  BOOST_TEST(d.empty());  // NOLINT(bugprone-use-after-move): promised
  BOOST_TEST(text_of(d).empty());
  BOOST_TEST((places_of(c) == places));
  BOOST_TEST(text_of(c) == letters(1'000) + letters(2'000));
  d.append("again");
  c.prepend(std::move(d));
  BOOST_TEST(text_of(c) == "again" + letters(1'000) + letters(2'000));
  BOOST_TEST(memory.allocations() + other.allocations() == calls + 1);  // only "again"
  c.clear();
  BOOST_TEST(other.outstanding_blocks() == 0U);
}

BOOST_AUTO_TEST_CASE(splitting_at_every_place) {
  const std::string text = letters(900);
  for (std::size_t n = 0; n <= text.size() + 1; ++n) {
    chain whole(&memory, {.block_bytes = 256});
    whole.append(text);
    const auto places = places_of(whole);
    chain front = whole.split(n);
    const std::size_t cut = std::min(n, text.size());
    BOOST_REQUIRE_EQUAL(text_of(front), text.substr(0, cut));
    BOOST_REQUIRE_EQUAL(text_of(whole), text.substr(cut));
    BOOST_REQUIRE(front.options() == whole.options());
    auto after = places_of(front);
    const auto rest = places_of(whole);
    after.insert(after.end(), rest.begin(), rest.end());
    std::size_t stayed = 0;  // every block but at most the one cut through, whose larger part stays too
    for (const std::byte* place : places)
      stayed += std::find(after.begin(), after.end(), place) != after.end();
    BOOST_REQUIRE_GE(stayed + 1, places.size());
    front.append("F");
    whole.append("W");
    front.splice(std::move(whole));
    BOOST_REQUIRE_EQUAL(text_of(front), text.substr(0, cut) + "F" + text.substr(cut) + "W");
  }
}

BOOST_AUTO_TEST_CASE(consuming_gives_blocks_back_but_one) {
  c.append(letters(1'000));
  c.consume(300);
  BOOST_TEST(text_of(c) == letters(1'000).substr(300));
  BOOST_TEST(memory.outstanding_blocks() == c.block_count());
  c.consume(SIZE_MAX);
  BOOST_TEST(c.empty());
  BOOST_TEST(memory.outstanding_blocks() == 1U);
  const auto allocations = memory.allocations();
  for (int i = 0; i < 100; ++i) {
    c.append(letters(150));
    c.consume(150);
  }
  BOOST_TEST(memory.allocations() == allocations);
  c.clear();
  BOOST_TEST(memory.outstanding_blocks() == 0U);
}

BOOST_AUTO_TEST_CASE(copying_out_and_flattening) {
  c.append(letters(1'000));
  c.consume(1);
  std::string out(700, '\0');
  BOOST_TEST(c.copy_to(std::as_writable_bytes(std::span(out))) == 700U);
  BOOST_TEST(out == letters(1'000).substr(1, 700));
  out.resize(5'000);
  BOOST_TEST(c.copy_to(std::as_writable_bytes(std::span(out))) == 999U);
  const buffer flat = c.flatten();
  BOOST_TEST(flat.view() == letters(1'000).substr(1));
  BOOST_TEST(flat.get_allocator().resource() == &memory);
  buffer behind("before ", &memory);
  c.flatten(behind);
  BOOST_TEST(behind.view() == "before " + letters(1'000).substr(1));
  BOOST_TEST(c.size() == 999U);
  buffer limited(&memory);
  limited.max_size(10);
  BOOST_CHECK_THROW(c.flatten(limited), std::length_error);
  BOOST_TEST(limited.empty());
}

BOOST_AUTO_TEST_CASE(vectors_are_for_writev) {
  c.append(letters(1'000));
  iovec two[2];
  BOOST_TEST(c.vectors(two) == 2U);
  BOOST_TEST(static_cast<const void*>(two[0].iov_base) == static_cast<const void*>(c.front().data()));
  BOOST_TEST(two[0].iov_len == c.front().size());
  iovec many[50];
  const std::size_t count = c.vectors(many);
  BOOST_TEST(count == c.block_count());
  std::size_t total = 0;
  for (std::size_t i = 0; i < count; ++i) total += many[i].iov_len;
  BOOST_TEST(total == 1'000U);
  BOOST_TEST(c.vectors({}) == 0U);
}

BOOST_AUTO_TEST_CASE(writing_to_a_pipe) {
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);
  const std::string text =
      letters(1'000'000);  // more blocks than one writev takes, more bytes than a pipe holds
  std::string got;
  std::thread reader([&] {
    buffer in(nullptr);
    in.read_from(ends[0]);
    got = in.view();
  });
  c.append(text);
  BOOST_TEST(c.write_to(ends[1]) == text.size());
  ::close(ends[1]);
  reader.join();
  ::close(ends[0]);
  BOOST_TEST((got == text));
  BOOST_TEST(c.empty());
}

BOOST_AUTO_TEST_CASE(a_failed_write_keeps_the_rest) {
  c.append("text");
  std::error_code error;
  BOOST_TEST(c.write_to(-1, error) == 0U);
  BOOST_TEST((error == std::errc::bad_file_descriptor));
  BOOST_CHECK_THROW(c.write_to(-1), std::system_error);
  BOOST_TEST(text_of(c) == "text");
  int ends[2];
  BOOST_REQUIRE(::pipe2(ends, O_NONBLOCK) == 0);
  c.append(letters(1'000'000));
  const std::size_t written = c.write_to(ends[1], error);
  BOOST_TEST((error == std::errc::resource_unavailable_try_again));
  BOOST_TEST(text_of(c) == ("text" + letters(1'000'000)).substr(written));
  ::close(ends[0]);
  ::close(ends[1]);
}

BOOST_AUTO_TEST_CASE(moves_and_swaps) {
  checking_resource other;
  chain d(&other, {.block_bytes = 1024});
  c.append("first");
  d.append("second");
  swap(c, d);
  BOOST_TEST(text_of(c) == "second");
  BOOST_TEST(c.options().block_bytes == 1024U);
  BOOST_TEST(text_of(d) == "first");
  c = std::move(d);
  BOOST_TEST(text_of(c) == "first");
  BOOST_TEST(c.get_allocator().resource() == &memory);
  BOOST_TEST(other.outstanding_blocks() == 0U);
  chain& same = c;
  c = std::move(same);
  BOOST_TEST(text_of(c) == "first");
}

BOOST_AUTO_TEST_CASE(impossible_sizes_are_length_errors) {
  c.append("text");
  BOOST_CHECK_THROW((void)c.prepare(SIZE_MAX), std::length_error);
  BOOST_CHECK_THROW((void)c.prepare(SIZE_MAX / 4 + 1), std::length_error);
  BOOST_CHECK_THROW((void)c.prepare(SIZE_MAX / 4), std::bad_alloc);
  BOOST_TEST(text_of(c) == "text");
}

BOOST_AUTO_TEST_CASE(preconditions_are_checked) {
  if constexpr (cistern::detail::checked_build) {
    using cistern::test_support::dies_saying;
    c.append("text");
    BOOST_TEST(dies_saying("commit beyond", [&] { c.commit(10'000); }));
    BOOST_TEST(dies_saying("commit beyond", [&] { chain(&memory).commit(1); }));
    BOOST_TEST(dies_saying("into itself", [&] { c.splice(std::move(c)); }));
    BOOST_TEST(dies_saying("to itself", [&] { c.prepend(std::move(c)); }));
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_failed_operation_changes_nothing) {
  const auto operations = std::vector<std::function<void(chain&, buffer&)>>{
      [](chain& c, buffer&) { c.append(letters(2'000)); },  [](chain& c, buffer&) { (void)c.prepare(2'000); },
      [](chain& c, buffer&) { c.prepend(letters(2'000)); }, [](chain& c, buffer&) { (void)c.split(100); },
      [](chain& c, buffer&) { (void)c.split(200); },        [](chain& c, buffer&) { (void)c.flatten(); },
      [](chain& c, buffer& b) { c.adopt(std::move(b)); },
  };
  for (const auto& operation : operations) {
    checking_resource memory;
    cistern::testing::failing_resource failing(&memory);
    chain c(&failing, {.block_bytes = 256});
    c.append(letters(500));
    buffer b("adopted", &memory);
    const auto places = places_of(c);
    const auto blocks = memory.outstanding_blocks();
    cistern::testing::fail_every_allocation(
        failing, [&] { operation(c, b); },
        [&](std::uint64_t) {
          BOOST_TEST(text_of(c) == letters(500));
          BOOST_TEST((places_of(c) == places));
          BOOST_TEST(b.view() == "adopted");
          BOOST_TEST(memory.outstanding_blocks() == blocks);
        });
  }
}

BOOST_AUTO_TEST_CASE(random_operations_do_what_a_string_does) {
  checking_resource memory;
  checking_resource other;
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
    chain c(&memory, {.block_bytes = 256 + below(300)});
    std::string model;
    for (int i = 0; i < 300; ++i) {
      const std::string piece = letters(below(600));
      switch (below(9)) {
        case 0:
          c.append(piece), model += piece;
          break;
        case 1:
          c.prepend(piece), model = piece + model;
          break;
        case 2:
          c.consume(piece.size()), model.erase(0, piece.size());
          break;
        case 3: {
          const std::size_t used = piece.empty() ? 0 : below(piece.size());
          const auto room = c.prepare(piece.size());
          write(room.first(used), std::string_view(piece).substr(0, used));
          if (below(2) == 0) c.commit(used), model += piece.substr(0, used);
          break;
        }
        case 4:
          c.adopt(buffer(piece, &other)), model += piece;
          break;
        case 5: {
          chain d(&other, {.block_bytes = 300});
          d.append(piece);
          c.splice(std::move(d)), model += piece;
          break;
        }
        case 6: {
          chain d = c.split(below(1'000));
          BOOST_REQUIRE(text_of(d) == model.substr(0, d.size()));
          BOOST_REQUIRE(text_of(c) == model.substr(d.size()));
          if (below(2) == 0) {
            d.splice(std::move(c));
            c = std::move(d);
          } else {
            c.prepend(std::move(d));
          }
          break;
        }
        case 7:
          c.append(c.front()), model += model.substr(0, c.size() - model.size());
          break;
        default:
          BOOST_REQUIRE(c.flatten().view() == model);
          break;
      }
      BOOST_REQUIRE(text_of(c) == model);
      BOOST_REQUIRE_LE(c.block_count(), memory.outstanding_blocks() + other.outstanding_blocks());
    }
  }
}
