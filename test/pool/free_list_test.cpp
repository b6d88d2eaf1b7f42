// A free block is linked through its own first bytes, which nobody else may touch until it is handed out
// again.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/free_list.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

using namespace cistern::detail;  // NOLINT(google-build-using-namespace)

static_assert(sizeof(free_block) <= smallest_block_bytes);
static_assert(alignof(free_block) <= 8, "blocks of 24 bytes are aligned to 8");

namespace {

constexpr std::size_t block_bytes = 48;

// Room for a few blocks, usable again at the end whatever was poisoned.
struct room {
  alignas(16) std::array<std::byte, 4 * block_bytes> bytes{};
  ~room() { asan_unpoison(bytes.data(), bytes.size()); }
  void* block(std::size_t index) { return bytes.data() + index * block_bytes; }
};

}  // namespace

BOOST_AUTO_TEST_CASE(blocks_are_linked_where_they_lie) {
  room memory;
  free_block* list = nullptr;
  for (std::size_t i = 0; i < 3; ++i) {
    list = free_block::make(memory.block(i), block_bytes, list);
    BOOST_TEST(list == memory.block(i));
  }
  for (std::size_t i = 3; i-- > 0; list = list->next()) BOOST_TEST(list == memory.block(i));
  BOOST_TEST(list == nullptr);
}

BOOST_AUTO_TEST_CASE(the_two_links_are_independent) {
  room memory;
  free_block* const first = free_block::make(memory.block(0), block_bytes, nullptr);
  free_block* const second = free_block::make(memory.block(1), block_bytes, first);
  second->next_list(first);
  BOOST_TEST(second->next() == first);
  BOOST_TEST(second->next_list() == first);
  second->next(nullptr);
  BOOST_TEST(second->next() == nullptr);
  BOOST_TEST(second->next_list() == first);
  second->next_list(nullptr);
  BOOST_TEST(second->next_list() == nullptr);
}

BOOST_AUTO_TEST_CASE(what_lies_behind_the_links_stays) {
  room memory;
  std::memset(memory.bytes.data(), 0x5a, memory.bytes.size());
  free_block* const block = free_block::make(memory.block(1), block_bytes, nullptr);
  block->next_list(block);
  asan_unpoison(memory.bytes.data(), memory.bytes.size());
  for (std::size_t i = 0; i < memory.bytes.size(); ++i) {
    const bool may_be_link = i >= block_bytes && i < block_bytes + sizeof(free_block);
    if (!may_be_link) BOOST_TEST((memory.bytes[i] == std::byte{0x5a}));
  }
}

BOOST_AUTO_TEST_CASE(checked_and_hardened_builds_find_a_link_that_was_overwritten) {
  if constexpr (seals_free_blocks) {
    room memory;
    free_block* const first = free_block::make(memory.block(0), block_bytes, nullptr);
    free_block* const second = free_block::make(memory.block(1), block_bytes, first);
    second->next_list(first);
    asan_unpoison(memory.bytes.data(), memory.bytes.size());
    using cistern::test_support::dies_saying;
    for (const int byte : {0x00, 0x41, 0xff}) {
      BOOST_TEST(dies_saying("a free block was written to", [&] {
        std::memset(memory.block(1), byte, 8);
        (void)second->next();
      }));
      BOOST_TEST(dies_saying("a free block was written to", [&] {
        std::memset(memory.block(1), byte, 16);
        (void)second->next_list();
      }));
    }
    for (std::size_t bit = 0; bit < 64; ++bit) {
      BOOST_TEST(dies_saying("a free block was written to", [&] {  // by one bit
        memory.bytes[block_bytes + bit / 8] ^= std::byte{1} << bit % 8;
        (void)second->next();
      }));
    }
    BOOST_TEST(dies_saying("a free block was written to", [&] {  // by another one's content
      std::memcpy(memory.block(0), memory.block(1), sizeof(free_block));
      (void)first->next();
    }));
  }
}

BOOST_AUTO_TEST_CASE(hardened_builds_know_a_free_block_by_its_mark) {
  if constexpr (hardened_build) {
    room memory;
    free_block* const block = free_block::make(memory.block(1), block_bytes, nullptr);
    BOOST_TEST(free_block::is_marked(block));
    BOOST_TEST(cistern::test_support::dies_saying(
        "was given back before", [&] { (void)free_block::make(memory.block(1), block_bytes, nullptr); }));
    BOOST_TEST(block->handed_out() == memory.block(1));
    BOOST_TEST(!free_block::is_marked(block));
    (void)free_block::make(memory.block(1), block_bytes, nullptr);
    // It is that of its place.
    asan_unpoison(memory.bytes.data(), memory.bytes.size());
    std::memcpy(memory.block(0), memory.block(1), sizeof(free_block));
    BOOST_TEST(!free_block::is_marked(memory.block(0)));
  }
}

BOOST_AUTO_TEST_CASE(the_secret_is_that_of_the_process) {
  const std::uint64_t known = process_secret.load();
  BOOST_TEST(known != 0U);
  learn_process_secret();
  BOOST_TEST(process_secret.load() == known);
}

BOOST_AUTO_TEST_CASE(AddressSanitizer_sees_a_use_of_a_free_block) {
  if constexpr (asan_build) {
    // On the heap: of a local variable clang may find that each access is within its bounds, and check none.
    const auto memory = std::make_unique<room>();
    (void)free_block::make(memory->block(1), block_bytes, nullptr);
    for (const std::size_t offset : {std::size_t{0}, std::size_t{8}, block_bytes - 1}) {
      const auto end = cistern::test_support::run_and_die([&] {
        *const_cast<volatile std::byte*>(memory->bytes.data() + block_bytes + offset) = std::byte{1};
      });
      BOOST_TEST(end.stderr_text.find("use-after-poison") != std::string::npos);
    }
    memory->bytes[block_bytes - 1] = std::byte{1};  // neighbours are not affected
    memory->bytes[2 * block_bytes] = std::byte{1};
  }
}
