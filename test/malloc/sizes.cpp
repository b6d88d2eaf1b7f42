// Sizes: zero, impossible ones, what is usable, zeroed memory, and memory given back.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "../support/zeros.hpp"
#include "contract.hpp"
#include <malloc.h>
#include <unistd.h>

using cistern::test_support::is_zero;
using contract::fill;
using contract::hide;
using contract::is_filled;

namespace {

constexpr std::size_t ptrdiff_max = PTRDIFF_MAX;
constexpr std::size_t mebibyte = std::size_t{1} << 20U;

void must_be_distinct(std::vector<void*>& blocks) {
  MUST(std::find(blocks.begin(), blocks.end(), nullptr) == blocks.end());
  std::sort(blocks.begin(), blocks.end());
  MUST(std::adjacent_find(blocks.begin(), blocks.end()) == blocks.end());
  for (void* block : blocks) free(block);
}

}  // namespace

CONTRACT_CASE(zero_bytes_give_unique_pointers) {
  std::vector<void*> blocks;
  for (int i = 0; i < 500; ++i) {
    blocks.push_back(malloc(hide(std::size_t{0})));
    blocks.push_back(calloc(hide(std::size_t{0}), 8));
    blocks.push_back(calloc(8, hide(std::size_t{0})));
    blocks.push_back(realloc(nullptr, hide(std::size_t{0})));
    blocks.push_back(reallocarray(nullptr, hide(std::size_t{0}), 3));
    blocks.push_back(aligned_alloc(64, hide(std::size_t{0})));
    blocks.push_back(memalign(32, hide(std::size_t{0})));
    blocks.push_back(valloc(hide(std::size_t{0})));
    void* block = nullptr;
    MUST(posix_memalign(&block, 128, hide(std::size_t{0})) == 0);
    blocks.push_back(block);
  }
  must_be_distinct(blocks);
}

CONTRACT_CASE(sizes_above_ptrdiff_max_give_enomem) {
  void* const kept = malloc(100);
  fill(kept, 100, 1);
  for (const std::size_t bytes :
       {ptrdiff_max, ptrdiff_max + 1, ptrdiff_max + 4097, SIZE_MAX - 4096, SIZE_MAX - 64, SIZE_MAX - 16,
        SIZE_MAX - 15, SIZE_MAX - 8, SIZE_MAX - 1, SIZE_MAX}) {
    const auto must_fail = [](void* block) {
      MUST(block == nullptr);
      MUST(errno == ENOMEM);
      errno = 0;
    };
    errno = 0;
    must_fail(malloc(hide(bytes)));
    must_fail(calloc(1, hide(bytes)));
    must_fail(calloc(hide(bytes), 1));
    must_fail(realloc(nullptr, hide(bytes)));
    must_fail(realloc(kept, hide(bytes)));
    must_fail(reallocarray(kept, hide(bytes), 1));
    must_fail(aligned_alloc(64, hide(bytes)));
    must_fail(memalign(4096, hide(bytes)));
    must_fail(valloc(hide(bytes)));
    must_fail(pvalloc(hide(bytes)));
    void* block = &block;
    MUST(posix_memalign(&block, 64, hide(bytes)) == ENOMEM);
    MUST(block == &block);
  }
  MUST(is_filled(kept, 100, 1));
  free(kept);
}

CONTRACT_CASE(products_that_overflow_give_enomem) {
  void* const kept = malloc(100);
  fill(kept, 100, 2);
  constexpr std::size_t half = std::size_t{1} << 32U;
  for (const auto& [count, bytes] :
       {std::array{half, half}, std::array{SIZE_MAX, std::size_t{2}}, std::array{std::size_t{2}, SIZE_MAX},
        std::array{SIZE_MAX, SIZE_MAX}, std::array{half + 1, half},
        std::array{SIZE_MAX / 8 + 1, std::size_t{8}}, std::array{SIZE_MAX / 16 + 2, std::size_t{16}}}) {
    errno = 0;
    MUST(calloc(hide(count), hide(bytes)) == nullptr);
    MUST(errno == ENOMEM);
    errno = 0;
    MUST(reallocarray(kept, hide(count), hide(bytes)) == nullptr);
    MUST(errno == ENOMEM);
    errno = 0;
    MUST(reallocarray(nullptr, hide(count), hide(bytes)) == nullptr);
    MUST(errno == ENOMEM);
  }
  MUST(is_filled(kept, 100, 2));
  free(kept);
}

CONTRACT_CASE(free_keeps_errno) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100}, std::size_t{5000},
                                  std::size_t{100'000}, 2 * mebibyte, 64 * mebibyte}) {
    void* const one = malloc(hide(bytes));
    void* const aligned = aligned_alloc(4096, hide(bytes));
    MUST(one != nullptr && aligned != nullptr);
    errno = 4711;
    free(hide(one));
    free(hide(aligned));
    free(hide(static_cast<void*>(nullptr)));
    MUST(errno == 4711);
  }
}

CONTRACT_CASE(usable_size_is_writable_to_its_end) {
  MUST(malloc_usable_size(nullptr) == 0);
  std::vector<std::array<void*, 3>> blocks;
  std::vector<std::size_t> sizes;
  for (std::size_t bytes = 0; bytes <= 3 * mebibyte; bytes += 1 + bytes / 37) sizes.push_back(bytes);
  for (const std::size_t bytes : sizes) {
    auto& three = blocks.emplace_back(std::array{malloc(bytes), malloc(bytes), malloc(bytes)});
    for (void* block : three) {
      MUST(block != nullptr);
      MUST(malloc_usable_size(block) >= bytes);
    }
    for (unsigned i = 0; i < 3; ++i) fill(three[i], malloc_usable_size(three[i]), i);
  }
  for (auto& three : blocks) {
    for (unsigned i = 0; i < 3; ++i) {
      MUST(is_filled(three[i], malloc_usable_size(three[i]), i));
      free(three[i]);
    }
  }
}

CONTRACT_CASE(live_blocks_never_overlap) {
  struct live {
    void* block;
    std::size_t bytes;
    unsigned seed;
  };
  contract::random_numbers random(42);
  std::vector<live> all(3000);
  for (unsigned step = 0; step < 60'000; ++step) {
    live& one = all[random.below(all.size())];
    if (one.block != nullptr) MUST(is_filled(one.block, one.bytes, one.seed));
    free(one.block);
    one = {nullptr, random.size(13), step};
    one.block = malloc(one.bytes);
    MUST(one.block != nullptr);
    fill(one.block, one.bytes, step);
  }
  std::sort(all.begin(), all.end(), [](const live& a, const live& b) { return a.block < b.block; });
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    if (all[i].block == nullptr) continue;
    MUST(static_cast<char*>(all[i].block) + malloc_usable_size(all[i].block) <= all[i + 1].block);
  }
  for (const live& one : all) free(one.block);
}

CONTRACT_CASE(calloc_zeroes_dirty_memory) {
  for (int round = 0; round < 2; ++round) {
    for (std::size_t bytes = 1; bytes <= 20 * mebibyte; bytes += 1 + bytes / 3) {
      std::array<void*, 4> blocks{};
      for (void*& block : blocks) {
        block = malloc(bytes);
        MUST(block != nullptr);
        std::memset(block, 0xFF, malloc_usable_size(block));
      }
      hide(blocks.data());
      for (void* block : blocks) free(block);
      for (void*& block : blocks) {
        block = calloc(bytes, 1);
        MUST(block != nullptr);
        MUST(is_zero(block, bytes));
      }
      for (void* block : blocks) free(block);
    }
  }
}

CONTRACT_CASE(calloc_zeroes_what_realloc_dirtied) {
  for (std::size_t bytes = 64; bytes <= 8 * mebibyte; bytes *= 3) {
    void* block = malloc(bytes);
    block = realloc(block, bytes * 2);
    MUST(block != nullptr);
    std::memset(block, 0xFF, bytes * 2);
    block = realloc(hide(block), bytes);
    void* const zeroed = calloc(bytes, 1);
    MUST(block != nullptr && zeroed != nullptr);
    MUST(is_zero(zeroed, bytes));
    free(block);
    free(zeroed);
  }
}

// A block that comes back as it went shows it: behind what was asked for it is as dirty as before.
CONTRACT_CASE(calloc_clears_what_was_asked_and_no_more) {
  if (!contract::is_cistern() || contract::is_hardened()) contract::skip("others may clear more");
  for (const std::size_t bytes : std::initializer_list<std::size_t>{100, 1'000, 5'000, 40'000, 200'000,
                                                                    300'000, 3 * mebibyte, 20 * mebibyte}) {
    void* const dirty = malloc(bytes);
    const std::size_t usable = malloc_usable_size(dirty);
    std::memset(dirty, 0xFF, usable);
    free(hide(dirty));
    const std::size_t asked = usable - usable / 16 - 1;
    auto* const block = static_cast<unsigned char*>(calloc(asked, 1));
    MUST(block == hide(dirty) && malloc_usable_size(block) == usable);
    MUST(is_zero(block, asked));
    MUST(std::all_of(block + asked, block + usable, [](unsigned char byte) { return byte == 0xFF; }));
    free(block);
  }
}

namespace {

/// Allocates and touches `total` bytes in blocks of `bytes`, and frees them in a scattered order.
std::size_t rise_and_fall(std::size_t total, std::size_t bytes) {
  std::vector<void*> blocks(total / bytes);
  for (void*& block : blocks) {
    block = malloc(bytes);
    MUST(block != nullptr);
    std::memset(block, 1, bytes);
  }
  const std::size_t peak = contract::resident_bytes();
  for (std::size_t stride = 0; stride < 7; ++stride) {
    for (std::size_t i = stride; i < blocks.size(); i += 7) free(blocks[i]);
  }
  return peak;
}

}  // namespace

// The heap may keep 96 MiB idle of what was in use a short while ago, for the next rise; some more lies
// between blocks in use.
CONTRACT_CASE(small_blocks_are_given_back_after_a_peak) {
  const std::size_t peak = rise_and_fall(320 * mebibyte, 1000);
  MUST(peak > 300 * mebibyte);
  // What gives memory back lazily does so in passing.
  for (int i = 0; i < 100'000; ++i) free(hide(malloc(static_cast<std::size_t>(16 + i % 2000))));
  MUST(contract::resident_bytes() < 176 * mebibyte);
}

CONTRACT_CASE(large_blocks_are_given_back_after_a_peak) {
  const std::size_t peak = rise_and_fall(512 * mebibyte, 16 * mebibyte);
  MUST(peak > 500 * mebibyte);
  MUST(contract::resident_bytes() < 120 * mebibyte);
}

CONTRACT_CASE(rising_and_falling_again_and_again_needs_no_more) {
  const std::size_t first = rise_and_fall(96 * mebibyte, 700);
  for (std::size_t bytes = 100; bytes <= 50'000; bytes *= 2) rise_and_fall(96 * mebibyte, bytes);
  const std::size_t last = rise_and_fall(96 * mebibyte, 700);
  MUST(last < first + 96 * mebibyte);
}
