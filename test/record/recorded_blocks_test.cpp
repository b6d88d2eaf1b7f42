// The set of recorded blocks: what is in it is found, by any thread, and nothing else is, wherever blocks
// lie.
#include "../../src/record/recorded_blocks.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::detail::recorded_blocks;

namespace {

recorded_blocks& new_blocks() {
  static recorded_blocks blocks;
  BOOST_REQUIRE(blocks.begin());
  return blocks;
}

}  // namespace

BOOST_AUTO_TEST_CASE(blocks_come_and_go) {
  recorded_blocks& blocks = new_blocks();
  BOOST_TEST(!blocks.contains(16));
  blocks.erase(16);
  BOOST_TEST(blocks.insert(16));
  BOOST_TEST(blocks.insert(16));  // Once.
  BOOST_TEST(blocks.contains(16));
  BOOST_TEST(!blocks.contains(8));
  BOOST_TEST(!blocks.contains(24));
  BOOST_TEST(blocks.insert(24));
  blocks.erase(16);
  BOOST_TEST(!blocks.contains(16));
  BOOST_TEST(blocks.contains(24));
  BOOST_TEST(blocks.insert(16));
  BOOST_REQUIRE(blocks.begin());  // Empties it.
  BOOST_TEST(!blocks.contains(16));
  BOOST_TEST(!blocks.contains(24));
  BOOST_TEST(blocks.insert(16));
}

BOOST_AUTO_TEST_CASE(blocks_lie_anywhere) {
  recorded_blocks& blocks = new_blocks();
  constexpr std::uintptr_t end = std::uintptr_t{1} << recorded_blocks::address_bits;
  const std::initializer_list<std::uintptr_t> places = {8,       (1U << 30) - 8, 1U << 30, 0x5555'5555'5000,
                                                        end / 2, end - 8};
  for (const std::uintptr_t block : places) {
    BOOST_TEST(!blocks.contains(block));
    BOOST_TEST(blocks.insert(block));
  }
  for (const std::uintptr_t block : places) {
    BOOST_TEST(blocks.contains(block));
    blocks.erase(block);
    BOOST_TEST(!blocks.contains(block));
  }
  for (const std::uintptr_t block : {end, end + 8, UINTPTR_MAX - 7}) {  // Where no block lies.
    BOOST_TEST(!blocks.insert(block));
    BOOST_TEST(!blocks.contains(block));
    blocks.erase(block);
  }
}

BOOST_AUTO_TEST_CASE(there_is_room_for_all) {
  recorded_blocks& blocks = new_blocks();
  constexpr std::uintptr_t count = 200'000;
  const auto block_of = [](std::uintptr_t i) { return 0x7F00'0000'0000 + i * 48; };
  std::size_t wrong = 0;
  for (std::uintptr_t i = 0; i < count; ++i) wrong += blocks.insert(block_of(i)) ? 0U : 1U;
  for (std::uintptr_t i = 0; i < count; ++i) {
    wrong += blocks.contains(block_of(i)) && !blocks.contains(block_of(i) + 8) ? 0U : 1U;
  }
  for (std::uintptr_t i = 0; i < count; i += 2) blocks.erase(block_of(i));
  for (std::uintptr_t i = 0; i < count; ++i) wrong += blocks.contains(block_of(i)) == (i % 2 != 0) ? 0U : 1U;
  BOOST_TEST(wrong == 0U);
}

BOOST_AUTO_TEST_CASE(threads_share_it) {
  recorded_blocks& blocks = new_blocks();
  std::vector<std::thread> threads;
  std::vector<std::size_t> lost(4);
  threads.reserve(lost.size());
  for (std::size_t t = 0; t < lost.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::uintptr_t i = 1; i < 20'000; ++i) {  // In the words of the others; at times, in a new region.
        const std::uintptr_t block = (i % 50 << 30U) + (i * 4 + t) * 8;
        lost[t] += blocks.insert(block) && blocks.contains(block) ? 0U : 1U;
        blocks.erase(block);
        lost[t] += blocks.contains(block) ? 1U : 0U;
      }
    });
  }
  for (std::thread& each : threads) each.join();
  for (const std::size_t each : lost) BOOST_TEST(each == 0U);
}
