// glibc_benchtests: the two shapes of the GNU C library's own benchmarks, one size at a time and a working
// set.
//
// After what benchtests/bench-malloc-simple and bench-malloc-thread of glibc measure.
#include <array>
#include <cmath>
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/shape.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {
namespace {

constexpr std::array<std::size_t, 4> block_counts{25, 100, 400, 1600};
constexpr std::array<std::size_t, 5> block_sizes{16, 64, 256, 1024, 4096};

/// Allocates `count` blocks, then frees them in the same order; the tables of this shape hold pointers only.
void allocate_and_free(std::vector<void*>& blocks, std::size_t count, std::size_t bytes) {
  for (std::size_t i = 0; i < count; ++i) blocks[i] = obtain(bytes);
  for (std::size_t i = 0; i < count; ++i) give_back(blocks[i]);
}

constexpr std::size_t working_set_blocks = 1024;
constexpr double smallest_bytes = 8;
constexpr double largest_bytes = 32 * 1024;
constexpr std::size_t table_entries = 8192;

/// Sizes whose density falls with their square, drawn beforehand so that the clock doesn't see it.
std::vector<std::size_t> inverse_square_sizes(std::uint64_t seed) {
  perf::random_source random(seed);
  std::vector<std::size_t> sizes(table_entries);
  for (std::size_t& bytes : sizes) {
    const double uniform = static_cast<double>(random.next() >> 40U) * 0x1p-24;
    bytes = static_cast<std::size_t>(
        1 / (1 / smallest_bytes - uniform * (1 / smallest_bytes - 1 / largest_bytes)));
  }
  return sizes;
}

}  // namespace

measured run_glibc_simple(const parameters& how) {
  const std::size_t blocks_in_all = how.rounds(600'000);
  std::vector<void*> blocks(block_counts.back());
  std::uint64_t operations = 0;
  const auto start = perf::clock::now();
  for (const std::size_t bytes : block_sizes) {
    for (const std::size_t count : block_counts) {
      for (std::size_t done = 0; done < blocks_in_all; done += count) allocate_and_free(blocks, count, bytes);
      operations += (blocks_in_all + count - 1) / count * count;
    }
  }
  return {.operations = operations, .elapsed = perf::clock::now() - start};
}

measured run_glibc_thread(const parameters& how) {
  const std::size_t replacements = how.rounds(12'000'000);
  std::vector<std::vector<void*>> sets(how.threads, std::vector<void*>(working_set_blocks));
  const auto nothing = [](unsigned) {};
  const auto work = [&](unsigned index) {
    const auto sizes = inverse_square_sizes(how.seed + index);
    perf::random_source random(how.seed * 31 + index);
    for (std::size_t done = 0; done < replacements; ++done) {
      void*& block = sets[index][random.below(working_set_blocks)];
      give_back(block);
      block = obtain(sizes[done % table_entries]);
    }
  };
  const auto finish = [&](unsigned index) {
    for (void* block : sets[index]) give_back(block);
  };
  const auto elapsed = perf::time_together(how.threads, nothing, work, finish);
  return {.operations = std::uint64_t{how.threads} * replacements, .elapsed = elapsed};
}

}  // namespace malloc_bench
