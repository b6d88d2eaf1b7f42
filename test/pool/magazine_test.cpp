// Which classes threads cache: all up to a size that is a block size itself. Magazines in stacks.
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/magazine.hpp>

#include <cstddef>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_parts.hpp"

using namespace cistern::detail;  // NOLINT(google-build-using-namespace)

BOOST_AUTO_TEST_CASE(cached_classes_end_with_the_largest_cached_block) {
  BOOST_TEST(class_block_bytes(cached_class_count - 1) == largest_cached_block_bytes);
  BOOST_TEST(class_block_bytes(cached_class_count) > largest_cached_block_bytes);
  BOOST_TEST(cached_class_count < class_count);
}

BOOST_AUTO_TEST_CASE(a_new_magazine_is_empty) {
  const magazine none;
  BOOST_TEST((none.head == nullptr));
  BOOST_TEST(none.blocks == 0U);
}

namespace {

/// Blocks for magazines, on cache lines of their own.
struct blocks_of_32_bytes {
  alignas(64) std::byte memory[32 * 100];
  std::size_t used = 0;

  magazine make(std::size_t blocks) {
    magazine made;
    for (; made.blocks < blocks; ++made.blocks) {
      made.head = free_block::make(memory + 32 * used++, 32, made.head);
    }
    return made;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_stack_gives_magazines_back_whole_last_in_first_out) {
  blocks_of_32_bytes blocks;
  magazine_stack stack;
  BOOST_TEST(stack.empty());
  BOOST_TEST(stack.blocks() == 0U);
  std::vector<magazine> pushed;
  std::size_t sum = 0;
  for (const std::size_t count : {2U, 30U, 3U, 2U, 60U}) {
    pushed.push_back(blocks.make(count));
    stack.push(pushed.back());
    sum += count;
    BOOST_TEST(stack.blocks() == sum);
  }
  while (!pushed.empty()) {
    const magazine popped = stack.pop();
    BOOST_TEST(popped.head == pushed.back().head);
    BOOST_TEST(popped.blocks == pushed.back().blocks);
    BOOST_TEST(cistern::test_support::length(popped.head) == popped.blocks);
    sum -= popped.blocks;
    BOOST_TEST(stack.blocks() == sum);
    if (pushed.size() == 3) {  // between others
      stack.push(popped);
      BOOST_TEST(stack.pop().head == popped.head);
    }
    pushed.pop_back();
  }
  BOOST_TEST(stack.empty());
}
