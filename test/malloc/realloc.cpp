// realloc: both directions, through every kind of block, with the contents looked at.
#include <array>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "contract.hpp"
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

using contract::fill;
using contract::hide;
using contract::is_filled;

namespace {

constexpr std::array<std::size_t, 14> up{1,         8,         24,         100,        1000,
                                         5000,      16'000,    30'000,     200'000,    600'000,
                                         3'000'000, 9'000'000, 40'000'000, 100'000'000};

void* resized(void* block, std::size_t from, std::size_t to, unsigned seed) {
  block = realloc(block, to);
  MUST(block != nullptr);
  MUST(malloc_usable_size(block) >= to);
  MUST(is_filled(block, from < to ? from : to, seed));
  fill(block, to, seed);
  return block;
}

}  // namespace

CONTRACT_CASE(realloc_of_nothing_is_malloc) {
  void* const block = realloc(hide(static_cast<void*>(nullptr)), 1000);
  MUST(block != nullptr);
  fill(block, 1000, 1);
  free(block);
}

CONTRACT_CASE(realloc_keeps_contents_up_and_down) {
  void* block = nullptr;
  std::size_t bytes = 0;
  for (const std::size_t next : up) {
    block = resized(block, bytes, next, 7);
    bytes = next;
  }
  for (auto next = up.rbegin(); next != up.rend(); ++next) {
    block = resized(block, bytes, *next, 7);
    bytes = *next;
  }
  free(block);
}

CONTRACT_CASE(realloc_keeps_contents_from_any_size_to_any) {
  for (const std::size_t from : up) {
    for (const std::size_t to : up) {
      if (from > 9'000'000 || to > 9'000'000) continue;
      void* block = malloc(from);
      MUST(block != nullptr);
      fill(block, from, 9);
      free(resized(block, from, to, 9));
    }
  }
}

CONTRACT_CASE(realloc_at_random_agrees_with_a_model) {
  struct live {
    void* block = nullptr;
    std::size_t bytes = 0;
    unsigned seed = 0;
  };
  contract::random_numbers random(7);
  std::vector<live> all(200);
  for (unsigned step = 0; step < 10'000; ++step) {
    live& one = all[random.below(all.size())];
    const std::size_t bytes = random.size(random.below(50) == 0 ? 22 : 14);
    one.block = realloc(one.block, bytes);
    MUST(one.block != nullptr);
    MUST(is_filled(one.block, one.bytes < bytes ? one.bytes : bytes, one.seed));
    one = {one.block, bytes, step};
    fill(one.block, bytes, step);
  }
  for (const live& one : all) {
    MUST(is_filled(one.block, one.bytes, one.seed));
    free(one.block);
  }
}

CONTRACT_CASE(realloc_grows_step_by_step) {
  char* text = nullptr;
  for (std::size_t length = 0; length < 300'000; length += 13) {
    text = static_cast<char*>(realloc(text, length + 13));
    MUST(text != nullptr);
    std::memset(text + length, static_cast<char>('a' + length % 26), 13);
  }
  for (std::size_t length = 0; length < 300'000; length += 13) {
    for (std::size_t i = 0; i < 13; ++i) MUST(text[length + i] == static_cast<char>('a' + length % 26));
  }
  free(text);
}

// What grows step by step is written to at its end. Its first page is closed, so that a look at it is a
// fault.
CONTRACT_CASE(realloc_in_place_does_not_touch_the_block) {
  if (!contract::is_cistern() || contract::is_checked() || contract::is_hardened()) {
    contract::skip("it may look whether the block was freed");
  }
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (const std::size_t bytes : {2 * page, 16 * page}) {  // no other block has a part of its pages
    void* const block = malloc(bytes);
    MUST(contract::is_aligned(block, page) && malloc_usable_size(block) == bytes);
    MUST(mprotect(block, page, PROT_NONE) == 0);
    for (const std::size_t to : {bytes / 2, bytes - 17, bytes}) MUST(realloc(hide(block), to) == block);
    MUST(mprotect(block, page, PROT_READ | PROT_WRITE) == 0);
    free(block);
  }
}

CONTRACT_CASE(realloc_that_fails_keeps_the_block) {
  for (const std::size_t bytes : up) {
    void* const block = malloc(bytes);
    MUST(block != nullptr);
    fill(block, bytes, 3);
    errno = 0;
    MUST(realloc(block, hide(SIZE_MAX / 2)) == nullptr);
    MUST(errno == ENOMEM);
    MUST(is_filled(block, bytes, 3));
    free(block);
  }
}

// C leaves it open; what nobody may do is leak or hand out a block of another's.
CONTRACT_CASE(realloc_to_nothing_loses_nothing) {
  const std::size_t before = contract::resident_bytes();
  for (int i = 0; i < 200'000; ++i) {
    void* const block = malloc(1000);
    std::memset(block, 1, 1000);
    free(realloc(hide(block), hide(std::size_t{0})));
  }
  MUST(contract::resident_bytes() < before + (std::size_t{32} << 20U));
}

CONTRACT_CASE(realloc_shrinking_gives_back_large_memory) {
  constexpr std::size_t large = std::size_t{256} << 20U;
  void* block = malloc(large);
  MUST(block != nullptr);
  std::memset(block, 1, large);
  block = realloc(hide(block), 10'000);
  MUST(block != nullptr);
  MUST(contract::resident_bytes() < (std::size_t{120} << 20U));
  free(block);
}

CONTRACT_CASE(reallocarray_keeps_contents) {
  void* block = reallocarray(nullptr, 10, 10);
  MUST(block != nullptr);
  fill(block, 100, 5);
  block = reallocarray(block, 1000, 50);
  MUST(block != nullptr);
  MUST(is_filled(block, 100, 5));
  free(block);
}
