// What of each class lies in lists. Plan: sums; the order of size and of age; the least stay; random notes
// beside a model.
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/listed_blocks.hpp>

#include <array>
#include <cstddef>
#include <random>

#include <boost/test/unit_test.hpp>

using cistern::detail::class_block_bytes;
using cistern::detail::class_of;
using cistern::detail::listed_blocks;

namespace {

constexpr unsigned class_64 = class_of(63);
constexpr unsigned class_1k = class_of(1023);
constexpr unsigned class_100k = class_of(100'000);

}  // namespace

BOOST_AUTO_TEST_CASE(nothing_is_listed_at_first) {
  const listed_blocks listed(true);
  BOOST_TEST(listed.bytes() == 0U);
  BOOST_TEST(listed.now() == 0U);
  BOOST_TEST(listed.largest() == listed_blocks::none);
  BOOST_TEST(listed.longest_unused(listed_blocks::reach::ripe) == listed_blocks::none);
}

BOOST_AUTO_TEST_CASE(a_class_stays_with_64_kib_or_two_blocks) {
  BOOST_TEST(listed_blocks::stay_blocks(class_64) == 1024U);
  BOOST_TEST(listed_blocks::stay_blocks(class_100k) == 2U);
  listed_blocks listed(true);
  listed.note(class_64, 1024, true);
  listed.note(class_100k, 2, true);
  BOOST_TEST(listed.largest() == listed_blocks::none);
  BOOST_TEST(listed.longest_unused(listed_blocks::reach::ripe) == listed_blocks::none);
  BOOST_TEST(listed.bytes() == 64U * 1024 + 2 * class_block_bytes(class_100k));
  listed.note(class_64, 1025, true);
  BOOST_TEST(listed.largest() == class_64);
  listed.note(class_100k, 3, true);
  BOOST_TEST(listed.largest() == class_100k);
  listed.note(class_100k, 0, true);
  BOOST_TEST(listed.largest() == class_64);
  BOOST_TEST(listed.bytes_of(class_100k) == 0U);
}

BOOST_AUTO_TEST_CASE(what_was_used_longest_ago_comes_first) {
  listed_blocks listed(true);
  for (const unsigned index : {class_64, class_1k, class_100k}) {
    listed.note(index, 5000, true);
    listed.tick(0);
    listed.use(index);
  }
  BOOST_TEST(listed.now() == 3U);
  BOOST_TEST(listed.longest_unused(listed_blocks::reach::ripe) == class_64);
  listed.tick(0);
  listed.use(class_64);
  BOOST_TEST(listed.longest_unused(listed_blocks::reach::ripe) == class_1k);
  BOOST_TEST(listed.last_use(class_64) == listed.now());
  listed.note(class_1k, 1, true);
  BOOST_TEST(listed.longest_unused(listed_blocks::reach::ripe) == class_100k);
  BOOST_TEST(listed.largest() == class_100k);
}

BOOST_AUTO_TEST_CASE(the_clock_counts_looks_and_much_that_was_freed) {
  listed_blocks listed(true);
  listed.tick(16);
  listed.tick(100'000);
  BOOST_TEST(listed.now() == 2U);
  listed.tick(std::size_t{1} << 20);
  BOOST_TEST(listed.now() == 10U);
  BOOST_TEST(listed.freed_bytes() == 100'016U + (std::size_t{1} << 20));
}

BOOST_AUTO_TEST_CASE(a_class_that_is_not_ripe_may_go_when_it_was_not_used_for_a_while) {
  listed_blocks listed(true);
  listed.note(class_1k, 5000, false);
  listed.use(class_1k);
  BOOST_TEST(listed.longest_unused(listed_blocks::reach::ripe) == listed_blocks::none);
  BOOST_TEST(listed.longest_unused(listed_blocks::reach::all) == class_1k);
  for (std::uint64_t i = 0; i <= listed_blocks::a_while; ++i) listed.tick(0);
  BOOST_TEST(listed.longest_unused(listed_blocks::reach::ripe) == class_1k);
}

BOOST_AUTO_TEST_CASE(random_notes_agree_with_a_model) {
  listed_blocks listed(true);
  listed_blocks of_one_thread(false);
  std::array<std::size_t, listed_blocks::most_classes> model{};
  std::mt19937 random(3);
  for (int step = 0; step < 5000; ++step) {
    const auto index = static_cast<unsigned>(random() % model.size());
    model[index] = random() % 3 == 0 ? 0 : random() % 3000;
    for (listed_blocks* const each : {&listed, &of_one_thread}) {
      each->note(index, model[index], true);
      each->note_beside(index, model[index] / 2);
      each->tick(model[index]);
    }
    BOOST_REQUIRE(of_one_thread.bytes() == listed.bytes());
    BOOST_REQUIRE(of_one_thread.beside_bytes() == listed.beside_bytes());
    BOOST_REQUIRE(of_one_thread.now() == listed.now());
    BOOST_REQUIRE(of_one_thread.freed_bytes() == listed.freed_bytes());
    std::size_t bytes = 0;
    std::size_t most_bytes = 0;
    for (unsigned i = 0; i < model.size(); ++i) {
      bytes += model[i] * class_block_bytes(i);
      if (model[i] > listed_blocks::stay_blocks(i)) {
        most_bytes = std::max(most_bytes, model[i] * class_block_bytes(i));
      }
    }
    BOOST_REQUIRE(listed.bytes() == bytes);
    const unsigned largest = listed.largest();
    BOOST_REQUIRE((largest == listed_blocks::none) == (most_bytes == 0));
    BOOST_REQUIRE((most_bytes == 0 || listed.bytes_of(largest) == most_bytes));
  }
}
