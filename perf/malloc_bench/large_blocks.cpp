// large_blocks: what programs do with blocks of 33 KiB to 64 MiB.
//
// Mapping and unmapping them, and the pages that are touched anew, cost more than all else; keeping them
// costs memory.
#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/replace.hpp"
#include "malloc_bench/shape.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {
namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = kib * kib;
constexpr std::size_t page_bytes = 4096;

/// 256 KiB doubled up to `doublings` times, and up to twice that.
std::size_t large_size(perf::random_source& random, std::size_t doublings) {
  const std::size_t least = (256 * kib) << random.below(doublings + 1);
  return least + random.below(least);
}

constexpr std::size_t live_blocks = 20;

}  // namespace

measured run_large_sparse(const parameters& how) {
  return replace(how, live_blocks, how.rounds(3000), [](perf::random_source& random) {
    const std::size_t bytes = large_size(random, 7);
    auto* const block = static_cast<unsigned char*>(obtain(bytes));
    for (std::size_t at = 64 * kib; at < bytes; at += 64 * kib) block[at] = 1;
    return block;
  });
}

measured run_large_filled(const parameters& how) {
  return replace(how, live_blocks, how.rounds(300),
                 [](perf::random_source& random) { return filled(large_size(random, 5)); });
}

measured run_large_zeroed(const parameters& how) {
  return replace(how, live_blocks, how.rounds(600), [](perf::random_source& random) {
    const std::size_t bytes = large_size(random, 4);
    auto* const block = static_cast<unsigned char*>(marked(std::calloc(1, bytes)));
    for (std::size_t at = page_bytes; at < bytes; at += page_bytes) {
      if (std::exchange(block[at], 1) != 0) fail("a block of calloc isn't zero");
    }
    return block;
  });
}

// One at a time: what is kept for the next one is seldom as large.
measured run_large_alone(const parameters& how) {
  const std::size_t blocks = how.rounds(1000);
  perf::random_source random(how.seed);
  const auto start = perf::clock::now();
  for (std::size_t done = 0; done < blocks; ++done) give_back(filled(300 * kib + random.below(4 * mib)));
  return {.operations = blocks, .elapsed = perf::clock::now() - start};
}

// All of them live, then none, in an order of its own.
measured run_large_fall(const parameters& how) {
  const std::size_t falls = how.rounds(3);
  perf::random_source random(how.seed);
  std::mt19937_64 order(how.seed);
  std::vector<void*> blocks(8000);
  const auto start = perf::clock::now();
  for (std::size_t done = 0; done < falls; ++done) {
    for (void*& block : blocks) block = obtain(33 * kib + random.below(991 * kib));
    std::shuffle(blocks.begin(), blocks.end(), order);
    for (void* block : blocks) give_back(block);
  }
  return {.operations = falls * blocks.size(), .elapsed = perf::clock::now() - start};
}

// By realloc, a half at a time, up to 64 MiB.
measured run_large_growth(const parameters& how) {
  const std::size_t blocks = how.rounds(20);
  const auto start = perf::clock::now();
  for (std::size_t done = 0; done < blocks; ++done) {
    unsigned char* block = nullptr;
    std::size_t filled_bytes = 0;
    for (std::size_t bytes = 64; bytes < 64 * mib; bytes += bytes / 2) {
      block = static_cast<unsigned char*>(std::realloc(block, bytes));
      if (block == nullptr) fail("out of memory");
      std::memset(block + filled_bytes, 1, bytes - filled_bytes);
      filled_bytes = bytes;
    }
    if (block[filled_bytes / 3] != 1) fail("realloc has lost what was in a block");
    std::free(block);
  }
  return {.operations = blocks, .elapsed = perf::clock::now() - start};
}

}  // namespace malloc_bench
