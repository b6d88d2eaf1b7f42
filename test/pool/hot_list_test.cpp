// The free blocks at hand: last in, first out, and counts that one word of room for frees doesn't spoil.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/pool/hot_list.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"

using cistern::detail::asan_unpoison;
using cistern::detail::hot_list;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t block_bytes = 32;

// Room for blocks, usable again at the end whatever was poisoned.
struct room {
  alignas(16) std::array<std::byte, 64 * block_bytes> bytes{};
  ~room() { asan_unpoison(bytes.data(), bytes.size()); }
  void* block(std::size_t index) { return bytes.data() + index * block_bytes; }
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_first_free_has_to_look) {
  room memory;
  hot_list list;
  BOOST_TEST(!list.try_push(memory.block(0), block_bytes));
  BOOST_TEST((list.head == nullptr));
  BOOST_TEST(list.pushed() == 0U);
}

BOOST_AUTO_TEST_CASE(the_block_freed_last_is_used_first) {
  room memory;
  hot_list list;
  list.set_room(10);
  for (std::size_t i = 0; i < 5; ++i) BOOST_TEST(list.try_push(memory.block(i), block_bytes));
  list.push(memory.block(5), block_bytes);
  for (std::size_t i = 6; i-- > 0;) BOOST_TEST(list.pop() == memory.block(i));
  BOOST_TEST((list.head == nullptr));
  BOOST_TEST(list.popped == 6U);
  BOOST_TEST(list.pushed() == 6U);
}

BOOST_AUTO_TEST_CASE(room_is_what_frees_may_take_unseen) {
  room memory;
  hot_list list;
  list.set_room(3);
  for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(list.try_push(memory.block(i), block_bytes));
  for (int again = 0; again < 3; ++again) {
    BOOST_TEST(!list.try_push(memory.block(3), block_bytes));
    BOOST_TEST(list.head == memory.block(2));
    BOOST_TEST(list.pushed() == 3U);
  }
  list.push(memory.block(3), block_bytes);  // whoever looked does it, and it takes no room
  BOOST_TEST(list.pushed() == 4U);
  BOOST_TEST(!list.try_push(memory.block(4), block_bytes));
  list.set_room(1);
  BOOST_TEST(list.try_push(memory.block(4), block_bytes));
  BOOST_TEST(!list.try_push(memory.block(5), block_bytes));
  BOOST_TEST(list.pushed() == 5U);
}

BOOST_AUTO_TEST_CASE(random_programs_are_counted_exactly) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      room memory;
      hot_list list;
      std::vector<void*> in_use;
      std::vector<void*> model;  // its back is the head
      for (std::size_t i = 0; i < 64; ++i) in_use.push_back(memory.block(i));
      std::uint64_t pushed = 0;
      std::uint64_t popped = 0;
      std::size_t room_left = 0;
      for (std::size_t step = 0; step < scaled(20'000); ++step) {
        switch (random() % 4) {
          case 0:
            room_left = below(random, 8);
            list.set_room(static_cast<std::int64_t>(room_left));
            break;
          case 1:
            if (model.empty()) break;
            BOOST_REQUIRE(list.pop() == model.back());
            in_use.push_back(model.back());
            model.pop_back();
            ++popped;
            break;
          default:
            if (in_use.empty()) break;
            if (const bool taken = list.try_push(in_use.back(), block_bytes); !taken) {
              BOOST_REQUIRE(room_left == 0U);
              if (random() % 2 == 0) break;
              list.push(in_use.back(), block_bytes);
            } else {
              BOOST_REQUIRE(room_left > 0U);
              --room_left;
            }
            model.push_back(in_use.back());
            in_use.pop_back();
            ++pushed;
        }
        BOOST_REQUIRE(list.pushed() == pushed);
        BOOST_REQUIRE(list.popped == popped);
        BOOST_REQUIRE(list.head == (model.empty() ? nullptr : model.back()));
      }
    }
  }
}
