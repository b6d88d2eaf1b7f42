// sparse_survivors: twelve phases of 60 MiB, each of blocks of another size, of which nearly all are freed.
//
// What stays of one phase pins memory that the next could use: the peak of the resident set says how much.
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/shape.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {

measured run_sparse_survivors(const parameters& how) {
  constexpr std::size_t phase_bytes = std::size_t{60} << 20U;
  constexpr std::size_t size_step = 24;
  constexpr std::uint64_t one_stays_of = 3000;
  const std::size_t phases = how.rounds(12);
  perf::random_source random(how.seed);
  std::vector<void*> blocks(phase_bytes / size_step);
  std::vector<void*> survivors;
  std::uint64_t operations = 0;
  const auto start = perf::clock::now();
  for (std::size_t phase = 0; phase < phases; ++phase) {
    const std::size_t bytes = size_step * (1 + phase % 12);
    const std::size_t count = phase_bytes / bytes;
    for (std::size_t i = 0; i < count; ++i) blocks[i] = filled(bytes);
    for (std::size_t i = 0; i < count; ++i) {
      if (random.below(one_stays_of) == 0) {
        survivors.push_back(blocks[i]);
      } else {
        give_back(blocks[i]);
      }
    }
    operations += count;
  }
  const auto elapsed = perf::clock::now() - start;
  for (void* block : survivors) give_back(block);
  return {.operations = operations, .elapsed = elapsed};
}

}  // namespace malloc_bench
