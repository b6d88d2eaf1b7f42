// measure_traffic: the message traffic under several memory resources, each run in a process of its own.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "demo/memory_plot.hpp"
#include "demo/message_traffic.hpp"
#include "demo/rounds.hpp"
#include "demo/taker.hpp"

namespace demo {

struct traffic_results {
  const taker* who = nullptr;
  std::vector<traffic_result> runs = {};  ///< In order of rounds.
  std::vector<std::size_t> given_back_bytes =
      {};  ///< Held after everyone was asked to give back what they can.

  [[nodiscard]] std::vector<double> processor_seconds() const;  ///< In order of rounds.
  /// Means of the runs, one for each sample.
  [[nodiscard]] std::vector<std::size_t> mean_bytes(std::size_t traffic_sample::*bytes) const;
  [[nodiscard]] std::size_t mean_given_back_bytes() const;
};

struct traffic_comparison {
  std::size_t rounds = 0;
  std::vector<traffic_results> results;

  [[nodiscard]] bool all_same() const;  ///< The same messages were dropped with the same content.
  [[nodiscard]] memory_plot plot() const;
};

/// Runs this program again with `--traffic-of NAME` for all takers in turn. `progress` is told each step.
[[nodiscard]] traffic_comparison compare_traffic(const round_plan& plan,
                                                 const std::function<void(const std::string&)>& progress);

/// The traffic under `who` in this process, which has done nothing else so far; prints it for
/// `compare_traffic`.
void print_traffic_here(std::ostream& out, const taker& who);

}  // namespace demo
