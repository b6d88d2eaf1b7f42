// Alignments: every power of two that someone may ask for, and those that must be refused.
#include <array>
#include <cerrno>
#include <cstdlib>
#include <initializer_list>
#include <vector>

#include "contract.hpp"
#include <malloc.h>
#include <unistd.h>

using contract::fill;
using contract::hide;
using contract::is_aligned;
using contract::is_filled;

namespace {

constexpr std::size_t most_alignment = std::size_t{8} << 20U;

/// Sizes around an alignment.
std::array<std::size_t, 8> sizes_for(std::size_t alignment) {
  return {0, 1, 24, alignment - 1, alignment, alignment + 1, 3 * alignment, 100'000};
}

void must_be_good(void* block, std::size_t bytes, std::size_t alignment) {
  MUST(block != nullptr);
  MUST(is_aligned(block, alignment));
  MUST(malloc_usable_size(block) >= bytes);
}

void* by_posix_memalign(std::size_t alignment, std::size_t bytes) {
  void* block = nullptr;
  MUST(posix_memalign(&block, alignment < sizeof(void*) ? sizeof(void*) : alignment, bytes) == 0);
  return block;
}

/// All sizes at once, in threes, so that a block can't be aligned by luck.
void try_alignment(void* (*allocate)(std::size_t, std::size_t), std::size_t alignment) {
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t bytes : sizes_for(alignment)) {
      void* const block = allocate(hide(alignment), hide(bytes));
      must_be_good(block, bytes, alignment);
      fill(block, bytes, static_cast<unsigned>(blocks.size()));
      blocks.emplace_back(block, bytes);
    }
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    auto [block, bytes] = blocks[i];
    MUST(is_filled(block, bytes, static_cast<unsigned>(i)));
    if (i % 2 == 0) {
      block = realloc(block, bytes + 777);
      MUST(block != nullptr);
      MUST(is_filled(block, bytes, static_cast<unsigned>(i)));
    }
    free(block);
  }
}

void try_all(void* (*allocate)(std::size_t, std::size_t)) {
  for (std::size_t alignment = 1; alignment <= most_alignment; alignment *= 2)
    try_alignment(allocate, alignment);
}

}  // namespace

CONTRACT_CASE(malloc_aligns_for_everything) {
  std::vector<void*> blocks;
  for (std::size_t bytes = 0; bytes < 20'000; bytes += 1 + bytes / 50) {
    const std::size_t wanted = bytes <= 8 ? 8 : alignof(std::max_align_t);
    for (void* block : {malloc(bytes), calloc(bytes, 1), realloc(malloc(1), bytes + 1)}) {
      must_be_good(block, bytes, wanted);
      blocks.push_back(block);
    }
  }
  for (void* block : blocks) free(block);
}

CONTRACT_CASE(posix_memalign_takes_every_power_of_two) {
  try_all(by_posix_memalign);
}
CONTRACT_CASE(aligned_alloc_takes_every_power_of_two) {
  try_all(aligned_alloc);
}
CONTRACT_CASE(memalign_takes_every_power_of_two) {
  try_all(memalign);
}

CONTRACT_CASE(posix_memalign_refuses_what_is_no_alignment) {
  for (const std::size_t alignment : std::initializer_list<std::size_t>{0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 24, 40,
                                                                        48, 96, 1000, 4095, 4097, 12288}) {
    void* block = &block;
    errno = 4711;
    MUST(posix_memalign(&block, hide(alignment), 100) == EINVAL);
    MUST(block == &block);
    MUST(errno == 4711);
  }
  void* block = &block;
  const int error = posix_memalign(&block, hide(SIZE_MAX / 2 + 1), 100);
  MUST(error == EINVAL || error == ENOMEM);
  MUST(block == &block);
}

CONTRACT_CASE(posix_memalign_keeps_errno_without_memory) {
  if (!contract::is_cistern()) contract::skip("glibc sets it");
  void* block = &block;
  errno = 4711;
  MUST(posix_memalign(&block, 64, hide(SIZE_MAX / 2)) == ENOMEM);
  MUST(block == &block);
  MUST(errno == 4711);
}

CONTRACT_CASE(aligned_alloc_refuses_what_is_no_alignment) {
  if (!contract::is_cistern()) contract::skip("glibc before 2.38 rounds up");
  for (const std::size_t alignment :
       std::initializer_list<std::size_t>{0, 3, 5, 6, 7, 9, 12, 24, 48, 1000, 4095, 4097}) {
    errno = 0;
    MUST(aligned_alloc(hide(alignment), 96) == nullptr);
    MUST(errno == EINVAL);
    errno = 0;
    MUST(memalign(hide(alignment), 96) == nullptr);
    MUST(errno == EINVAL);
  }
}

CONTRACT_CASE(impossible_alignments_fail) {
  for (std::size_t alignment = std::size_t{1} << 48U; alignment != 0; alignment *= 2) {
    errno = 0;
    MUST(aligned_alloc(hide(alignment), 100) == nullptr);
    MUST(errno == ENOMEM || errno == EINVAL);
    errno = 0;
    MUST(memalign(hide(alignment), hide(SIZE_MAX / 4)) == nullptr);
    MUST(errno == ENOMEM || errno == EINVAL);
  }
}

CONTRACT_CASE(valloc_and_pvalloc_give_pages) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (std::size_t bytes = 0; bytes < 50 * page; bytes += 1 + bytes / 2) {
    void* const one = valloc(hide(bytes));
    void* const pages = pvalloc(hide(bytes));
    must_be_good(one, bytes, page);
    must_be_good(pages, (bytes + page - 1) / page * page, page);
    std::memset(pages, 1, (bytes + page - 1) / page * page);
    free(one);
    free(pages);
  }
}

// Blocks above a page's alignment are where an allocator that only maps memory would waste the most.
CONTRACT_CASE(aligned_blocks_are_given_back) {
  constexpr std::size_t alignment = std::size_t{1} << 16U;
  for (int i = 0; i < 20'000; ++i) {
    void* const block = aligned_alloc(alignment, alignment);
    MUST(block != nullptr);
    static_cast<volatile char*>(block)[0] = 1;
    free(block);
  }
  MUST(contract::mapped_bytes() < std::size_t{4} << 30U);
  MUST(contract::resident_bytes() < std::size_t{100} << 20U);
}

// A process may have some 65,000 mappings.
CONTRACT_CASE(many_aligned_blocks_take_few_mappings) {
  if (!contract::is_cistern() || contract::is_hardened()) contract::skip("others may map each");
  for (const std::size_t alignment :
       {std::size_t{8} << 10U, std::size_t{16} << 10U, std::size_t{256} << 10U}) {
    std::vector<void*> blocks(alignment < 100'000 ? 20'000 : 3'000);  // each touches three pages
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      blocks[i] = aligned_alloc(alignment, 1 + i % 20'000);
      MUST(blocks[i] != nullptr && is_aligned(blocks[i], alignment));
    }
    MUST(contract::mappings() < 2'000);
    for (std::size_t i = 0; i < blocks.size(); ++i) free(blocks[i * 7'919 % blocks.size()]);
  }
}
