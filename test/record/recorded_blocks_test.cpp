// The set of sampled blocks: what is in it is found, by any thread, and when it is full it says so.
#include "../../src/record/sampled_blocks.hpp"

#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::detail::sampled_blocks;

namespace {

sampled_blocks& new_blocks() {
  static sampled_blocks blocks;
  BOOST_REQUIRE(blocks.begin());
  return blocks;
}

}  // namespace

BOOST_AUTO_TEST_CASE(blocks_come_and_go) {
  sampled_blocks& blocks = new_blocks();
  BOOST_TEST(!blocks.contains(16));
  BOOST_TEST(blocks.insert(16));
  BOOST_TEST(blocks.insert(16));  // Once.
  BOOST_TEST(blocks.contains(16));
  BOOST_TEST(!blocks.contains(32));
  blocks.erase(32);
  BOOST_TEST(blocks.contains(16));
  blocks.erase(16);
  BOOST_TEST(!blocks.contains(16));
  BOOST_TEST(blocks.insert(16));
  BOOST_REQUIRE(blocks.begin());
  BOOST_TEST(!blocks.contains(16));
}

BOOST_AUTO_TEST_CASE(what_finds_no_room_is_not_in_it) {
  sampled_blocks& blocks = new_blocks();
  std::vector<std::uintptr_t> in;
  std::size_t refused = 0;
  for (std::uintptr_t i = 1; i <= sampled_blocks::most_blocks; ++i) {
    const std::uintptr_t block = 0x7F0000000000 + i * 48;
    if (blocks.insert(block)) {
      in.push_back(block);
    } else {
      ++refused;
      BOOST_TEST(!blocks.contains(block));
    }
    // A quarter full, hardly any is refused.
    if (i == sampled_blocks::most_blocks / 4) BOOST_TEST(refused < i / 20);
  }
  BOOST_TEST(refused > 0U);
  for (const std::uintptr_t block : in) BOOST_TEST(blocks.contains(block));
  for (const std::uintptr_t block : in) blocks.erase(block);
  for (const std::uintptr_t block : in) BOOST_TEST(!blocks.contains(block));
}

BOOST_AUTO_TEST_CASE(threads_share_it) {
  sampled_blocks& blocks = new_blocks();
  std::vector<std::thread> threads;
  std::vector<std::size_t> lost(4);
  threads.reserve(lost.size());
  for (std::size_t t = 0; t < lost.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::uintptr_t i = 1; i < 20'000; ++i) {
        const std::uintptr_t block = (i * 4 + t) * 16;
        if (!blocks.insert(block)) continue;
        lost[t] += blocks.contains(block) ? 0U : 1U;
        blocks.erase(block);
        lost[t] += blocks.contains(block) ? 1U : 0U;
      }
    });
  }
  for (std::thread& each : threads) each.join();
  for (const std::size_t each : lost) BOOST_TEST(each == 0U);
}
