// alloc_test: a few slots are used very often and many seldom, and small sizes are much likelier than large
// ones.
//
// After S. Ignatchenko, D. Ivanchykhin, M. Blanchard, "Testing Memory Allocators: ptmalloc2 vs tcmalloc vs
// hoard vs jemalloc While Trying to Simulate Real-World Loads", 2018 (the program alloc-test).
#include <algorithm>
#include <cstring>
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/shape.hpp"
#include "support/keep.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {
namespace {

constexpr std::size_t slots = std::size_t{1} << 15U;
constexpr std::size_t largest_shift = 10;

struct slot {
  void* block = nullptr;
  std::size_t bytes = 0;
};

/// A fifth of the slots gets four fifths of the visits (Pareto): the seventh power of a uniform number.
std::size_t often_the_same(perf::random_source& random) {
  const double uniform = static_cast<double>(random.next() >> 40U) * 0x1p-24;
  const double squared = uniform * uniform;
  return std::min(slots - 1, static_cast<std::size_t>(squared * squared * squared * uniform * slots));
}

/// Each doubling as likely as the next.
std::size_t mostly_small(perf::random_source& random) {
  const std::size_t shift = random.below(largest_shift + 1 - 3) + 3;
  return (std::size_t{1} << shift) + random.below(std::size_t{1} << shift) / 2;
}

void visit(slot& one, perf::random_source& random) {
  if (one.block != nullptr) {
    perf::keep_value(static_cast<unsigned char*>(one.block)[one.bytes - 1]);
    give_back(one.block);
    one.block = nullptr;
    return;
  }
  one.bytes = mostly_small(random);
  one.block = std::malloc(one.bytes);
  if (one.block == nullptr) fail("out of memory");
  std::memset(one.block, 0x5A, one.bytes);
  marked(one.block);
}

}  // namespace

measured run_alloc_test(const parameters& how) {
  const std::size_t visits = how.rounds(6'000'000);
  std::vector<std::vector<slot>> tables(how.threads, std::vector<slot>(slots));
  const auto nothing = [](unsigned) {};
  const auto work = [&](unsigned index) {
    perf::random_source random(how.seed + index);
    for (std::size_t done = 0; done < visits; ++done) visit(tables[index][often_the_same(random)], random);
  };
  const auto finish = [&](unsigned index) {
    for (const slot& one : tables[index]) give_back(one.block);
  };
  const auto elapsed = perf::time_together(how.threads, nothing, work, finish);
  return {.operations = std::uint64_t{how.threads} * visits / 2, .elapsed = elapsed};
}

}  // namespace malloc_bench
