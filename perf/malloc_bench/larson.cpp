// larson: a server whose threads replace random blocks and, at the end of their lives, hand all blocks to a
// successor.
//
// After P. Larson, M. Krishnan, "Memory Allocation for Long-Running Server Applications", ISMM 1998.
#include <thread>
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/shape.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {
namespace {

constexpr std::size_t blocks_per_thread = 5000;
constexpr std::size_t smallest_bytes = 8;
constexpr std::size_t largest_bytes = 1000;
constexpr std::size_t replacements_per_life = 50'000;

std::size_t any_size(perf::random_source& random) {
  return smallest_bytes + random.below(largest_bytes - smallest_bytes + 1);
}

void one_life(std::vector<void*>& blocks, perf::random_source& random) {
  for (std::size_t done = 0; done < replacements_per_life; ++done) {
    void*& block = blocks[random.below(blocks.size())];
    give_back(block);
    block = obtain(any_size(random));
  }
}

}  // namespace

measured run_larson(const parameters& how) {
  const std::size_t lives = how.rounds(120);
  std::vector<std::vector<void*>> blocks(how.threads, std::vector<void*>(blocks_per_thread));
  const auto prepare = [&](unsigned index) {
    perf::random_source random(how.seed + index);
    for (void*& block : blocks[index]) block = obtain(any_size(random));
  };
  const auto work = [&](unsigned index) {
    perf::random_source random(how.seed * 1000 + index);
    for (std::size_t life = 0; life < lives; ++life)
      std::thread([&] { one_life(blocks[index], random); }).join();
  };
  const auto finish = [&](unsigned index) {
    for (void* block : blocks[index]) give_back(block);
  };
  const auto elapsed = perf::time_together(how.threads, prepare, work, finish);
  return {.operations = std::uint64_t{how.threads} * lives * replacements_per_life, .elapsed = elapsed};
}

}  // namespace malloc_bench
