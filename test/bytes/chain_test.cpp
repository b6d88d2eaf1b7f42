// cistern::chain: blocks that change hands, bytes that stay where they are.
#include <cistern/chain.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>

#include <cstring>
#include <deque>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/texts.hpp"
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

using cistern::buffer;
using cistern::chain;
using cistern::chain_options;
using cistern::test_support::letters;
using cistern::testing::checking_resource;

namespace {

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

// Whatever happens between prepare and commit, the bytes written meanwhile arrive, at the end, once. In the
// tail of the last block and in a block of its own.
BOOST_AUTO_TEST_CASE(a_prepared_region_survives_what_comes_between) {
  struct operation {
    const char* name;
    std::function<void(chain&)> run;
    std::string before;  // what the chain holds then
  };
  checking_resource other;
  const auto made = [&](std::string_view text) {
    chain d(&other);
    d.append(text);
    return d;
  };
  const operation operations[] = {
      {"append", [](chain& d) { d.append("tail-"); }, "head-tail-"},
      {"append much", [](chain& d) { d.append(letters(3'000)); }, "head-" + letters(3'000)},
      {"append of its own", [](chain& d) { d.append(d.front()); }, "head-head-"},
      {"prepend", [](chain& d) { d.prepend("first-"); }, "first-head-"},
      {"splice", [&](chain& d) { d.splice(made("tail-")); }, "head-tail-"},
      {"prepend a chain", [&](chain& d) { d.prepend(made("first-")); }, "first-head-"},
      {"adopt", [](chain& d) { d.adopt(buffer("adopted-")); }, "head-adopted-"},
      {"adopt little",
       [](chain& d) {
         buffer large;
         large.reserve_more(10'000);
         large.append("little-");
         d.adopt(std::move(large));
       },
       "head-little-"},
      {"split off a part", [](chain& d) { (void)d.split(3); }, "d-"},
      {"split off everything", [](chain& d) { BOOST_TEST(text_of(d.split(5)) == "head-"); }, ""},
      {"split behind others",
       [](chain& d) {
         d.append("tail-");
         BOOST_TEST(text_of(d.split(7)) == "head-ta");
       },
       "il-"},
      {"consume everything", [](chain& d) { d.consume(5); }, ""},
      {"consume, then append",
       [](chain& d) {
         d.append("tail-");
         d.consume(7);
         d.append("more-");
       },
       "il-more-"},
      {"through another chain",
       [&](chain& d) {
         chain e(std::move(d));
         d = chain(&other);
         d.splice(std::move(e));
         BOOST_CHECK_THROW(e.commit(1), std::logic_error);  // NOLINT(bugprone-use-after-move): promised
       },
       "head-"},
  };
  for (const operation& o : operations) {
    for (const std::size_t n : {9U, 1'000U}) {
      BOOST_TEST_CONTEXT(o.name << ", " << n) {
        chain d(&memory, {.block_bytes = 256});
        d.append("head-");
        const auto room = d.prepare(n);
        write(room, "BODY----X");
        o.run(d);
        BOOST_TEST(text_of(d) == o.before);
        d.commit(4);
        BOOST_TEST(text_of(d) == o.before + "BODY");
        BOOST_CHECK_THROW(d.commit(1), std::logic_error);  // once
        d.append("|");
        BOOST_TEST(text_of(d) == o.before + "BODY|");
      }
    }
  }
  BOOST_TEST(memory.outstanding_blocks() == 0U);
  BOOST_TEST(other.outstanding_blocks() == 0U);
}

BOOST_AUTO_TEST_CASE(a_commit_of_what_is_not_prepared_is_refused) {
  c.append("text");
  BOOST_CHECK_THROW(c.commit(1), std::logic_error);
  (void)c.prepare(10);
  BOOST_CHECK_THROW(c.commit(11), std::logic_error);
  const std::function<void()> ends[] = {[&] { c.commit(0); }, [&] { c.clear(); }, [&] { c.shrink_to_fit(); },
                                        [&] { (void)c.prepare(0); }, [&] { chain taken(std::move(c)); }};
  for (const auto& end : ends) {
    (void)c.prepare(10);
    end();
    BOOST_CHECK_THROW(c.commit(1), std::logic_error);
    c.commit(0);
  }
  // Of two regions that come together the spliced one ends.
  chain d(&memory);
  write(c.prepare(4), "ours");
  write(d.prepare(6), "theirs");
  c.splice(std::move(d));
  BOOST_CHECK_THROW(d.commit(1), std::logic_error);  // NOLINT(bugprone-use-after-move): promised
  BOOST_CHECK_THROW(c.commit(6), std::logic_error);
  c.commit(4);
  BOOST_TEST(text_of(c) == "ours");
}

BOOST_AUTO_TEST_CASE(an_abandoned_region_is_room_again) {
  c.append("text");
  (void)c.prepare(100);
  BOOST_TEST(c.available() == 0U);
  c.commit(0);
  BOOST_TEST(c.available() == 256 - chain::header_bytes - 4);
  const auto allocations = memory.allocations();
  c.append(letters(100));
  BOOST_TEST(memory.allocations() == allocations);
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

BOOST_AUTO_TEST_CASE(little_in_a_large_buffer_does_not_hold_its_block) {
  for (int i = 0; i < 1'000; ++i) {
    buffer b(&memory);
    b.reserve_more(60'000);
    b.append("0123456789");
    c.adopt(std::move(b));
    BOOST_TEST(b.empty());  // NOLINT(bugprone-use-after-move): promised
    BOOST_TEST(b.capacity() == 0U);
  }
  BOOST_TEST(c.size() == 10'000U);
  BOOST_TEST(memory.outstanding_bytes() < 15'000U);
}

BOOST_AUTO_TEST_CASE(many_small_splices_can_be_packed) {
  checking_resource other;
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    chain d(&other, {.block_bytes = 4'096});
    d.append(letters(10));
    expected += letters(10);
    c.splice(std::move(d));
  }
  c.shrink_to_fit();
  BOOST_TEST(text_of(c) == expected);
  BOOST_TEST(other.outstanding_blocks() == 0U);
  BOOST_TEST(memory.outstanding_bytes() < 2'000U);
  const auto places = places_of(c);
  c.shrink_to_fit();  // nothing to win
  BOOST_TEST((places_of(c) == places));
  c.consume(c.size());
  c.shrink_to_fit();
  BOOST_TEST(memory.outstanding_blocks() == 0U);
}

BOOST_AUTO_TEST_CASE(chains_live_in_pmr_containers) {
  checking_resource other;
  std::pmr::vector<chain> chains(&other);
  chains.emplace_back();
  chains.emplace_back(chain_options{512});
  BOOST_TEST(chains[1].options().block_bytes == 512U);
  BOOST_TEST(chains[0].get_allocator().resource() == &other);
  c.append("text");
  const auto places = places_of(c);
  chains.push_back(std::move(c));
  chains.reserve(100);
  BOOST_TEST((places_of(chains[2]) == places));  // blocks go where they came from, wherever the chain is
  chains[2].append(letters(1'000));
  chains.clear();
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
    BOOST_TEST(dies_saying("into itself", [&] { c.splice(std::move(c)); }));
    BOOST_TEST(dies_saying("to itself", [&] { c.prepend(std::move(c)); }));
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_failed_operation_changes_nothing) {
  const auto operations = std::vector<std::function<void(chain&, buffer&)>>{
      [](chain& c, buffer&) { c.append(letters(2'000)); },
      [](chain& c, buffer&) { (void)c.prepare(2'000); },
      [](chain& c, buffer&) { c.prepend(letters(2'000)); },
      [](chain& c, buffer&) { (void)c.split(100); },
      [](chain& c, buffer&) { (void)c.split(200); },
      [](chain& c, buffer&) { (void)c.flatten(); },
      [](chain& c, buffer& b) { c.adopt(std::move(b)); },
      [](chain& c, buffer&) {
        buffer little;
        little.reserve_more(4'000);
        little.append(letters(100));
        c.adopt(std::move(little));
      },
      [](chain& c, buffer&) { c.shrink_to_fit(); },
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

BOOST_AUTO_TEST_CASE(a_failed_operation_keeps_what_is_prepared) {
  const auto operations = std::vector<std::function<void(chain&)>>{
      [](chain& c) { c.append(letters(2'000)); },     [](chain& c) { c.prepend(letters(2'000)); },
      [](chain& c) { (void)c.split(c.size()); },      [](chain& c) { (void)c.split(399); },
      [](chain& c) { c.adopt(buffer("some more")); }, [](chain& c) { c.commit(100); },
  };
  const std::size_t room = 256 - chain::header_bytes;
  for (const auto& operation : operations) {
    checking_resource memory;
    cistern::testing::failing_resource failing(&memory);
    chain c(&failing, {.block_bytes = 256});
    c.append(letters(400));
    write(c.prepare(120), letters(120));  // in the tail of the last block
    c.append(letters(room));              // which is the last no more
    bool committed = true;
    cistern::testing::fail_every_allocation(
        failing, [&] { operation(c); },
        [&](std::uint64_t) { BOOST_TEST(text_of(c) == letters(400) + letters(room)); });
    try {
      c.commit(120);
    } catch (const std::logic_error&) {
      committed = false;  // it was the operation
    }
    const std::string text = text_of(c);
    BOOST_TEST(text.ends_with(letters(committed ? 120 : 100)));
  }
}
