// measure_index: times the word index under several memory resources, interleaved, and their memory.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <memory_resource>
#include <string>
#include <vector>

#include "demo/corpus.hpp"
#include "demo/rounds.hpp"
#include "demo/taker.hpp"
#include "demo/word_index.hpp"

namespace demo {

struct memory_figures {
  std::size_t peak_bytes = 0;        ///< What the index added to the process's resident set, at most.
  std::size_t held_bytes = 0;        ///< What of it was still there when the index was gone.
  std::size_t given_back_bytes = 0;  ///< And after everyone was asked to give back what they can.
};

struct index_result {
  const taker* who = nullptr;
  std::shared_ptr<std::pmr::memory_resource> resource;  ///< Lives through all rounds, as a program's would.
  std::vector<double> seconds = {};                     ///< Of one pass, in order of rounds.
  memory_figures memory = {};
  bool same_index = true;
};

struct index_comparison {
  std::size_t threads = 1;
  std::size_t rounds = 0;
  std::size_t passes_per_run = 1;
  index_digest digest;  ///< What new/delete's index says.
  std::vector<index_result> results = {};

  [[nodiscard]] bool all_same() const;
};

/// Times all takers that can work with so many threads. `progress` is told each step.
[[nodiscard]] index_comparison compare_indexing(const corpus& input, std::size_t threads,
                                                const round_plan& plan,
                                                const std::function<void(const std::string&)>& progress);

/// Indexes once under `who` in this process, which has done nothing else so far, and says what that took.
[[nodiscard]] memory_figures index_memory_here(const corpus& input, const taker& who, std::size_t threads);

}  // namespace demo
