// replace: a working set of blocks, of which random ones are freed and got anew.
#pragma once

#include <cstddef>
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/shape.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {

/// So many blocks at a time, of which one, at random, is replaced by what `obtain_one(random)` returns, again
/// and again.
template <class Obtain>
measured replace(const parameters& how, std::size_t live_blocks, std::size_t replacements,
                 Obtain obtain_one) {
  perf::random_source random(how.seed);
  std::vector<void*> blocks(live_blocks);
  const auto start = perf::clock::now();
  for (std::size_t done = 0; done < replacements; ++done) {
    void*& block = blocks[random.below(live_blocks)];
    give_back(block);
    block = obtain_one(random);
  }
  for (void* block : blocks) give_back(block);
  return {.operations = replacements, .elapsed = perf::clock::now() - start};
}

}  // namespace malloc_bench
