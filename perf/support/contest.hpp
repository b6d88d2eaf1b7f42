// contest: named ways to do the same work, measured in interleaved rounds of one process.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

namespace perf {

/// Does the work so often; returns the time of the measured part.
using runner = std::function<std::chrono::nanoseconds(std::size_t repetitions)>;

struct contest_entry {
  std::string name;
  runner run;
};

struct contest {
  std::string name;
  std::string operation;   ///< What one operation is.
  std::size_t operations;  ///< Per repetition.
  std::vector<contest_entry> entries = {};
};

/// An entry for each type, in order, named by its `name`, which does
/// `run.operator()<Contestant>(repetitions)`.
template <class... Contestants, class Run>
void enter(contest& c, Run run) {
  (c.entries.push_back({std::string(Contestants::name),
                        [run](std::size_t n) { return run.template operator()<Contestants>(n); }}),
   ...);
}

struct contest_plan {
  std::size_t rounds = 11;
  std::chrono::nanoseconds run_time = std::chrono::milliseconds(20);  ///< Aimed at for one run.
};

struct contest_result {
  std::string name;
  std::string operation;
  std::vector<std::string> names;
  std::vector<std::vector<double>> rounds;  ///< Per entry: nanoseconds per operation.

  /// Median over the rounds of the time of one entry divided by that of another in the same round.
  [[nodiscard]] double ratio(std::size_t numerator, std::size_t denominator) const;
};

/// Every entry once in each round, in an order that changes from round to round.
[[nodiscard]] contest_result measure(const contest& what, const contest_plan& how);

/// Every round of every entry, one line each, with a header line.
void write_csv(std::ostream& out, const std::vector<contest_result>& all);

}  // namespace perf
