// measure: runs contestants on one workload in interleaved rounds, and what comes out of it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "support/contestant.hpp"
#include "support/workload.hpp"

namespace perf {

struct plan {
  std::size_t rounds = 9;
  std::chrono::nanoseconds run_time = std::chrono::milliseconds(25);  ///< Aimed at for one run.
  std::size_t memory_runs = 3;  ///< Child processes per contestant whose median peak counts. 0: none.
  std::vector<std::string> child_arguments = {};  ///< Options with which a child finds the same workloads.
};

/// All that was measured of one contestant on one workload.
struct result {
  const contestant* who = nullptr;
  std::vector<measurement> rounds = {};  ///< In order of rounds, as the clock had them.
  double own_nanoseconds = 0;    ///< Of the work itself in an operation, to be taken off; 0: nothing is.
  double nanoseconds = 0;        ///< Per operation; the median of the rounds.
  std::size_t peak_bytes = 0;    ///< Peak resident set of a process that does only this; 0: not measured.
  std::size_t growth_bytes = 0;  ///< How much of it the work added.
  std::size_t held_bytes = 0;  ///< What was still held when only what had to stay was live; 0: no such time.

  /// Per operation in one round, without the work's own cost.
  [[nodiscard]] double nanoseconds_in(std::size_t round) const;
};

struct comparison {
  const workload* what = nullptr;
  std::vector<result> results;  ///< In order of contestants; where times are net, `nothing` comes last.
  std::size_t asked_bytes = 0;  ///< The most that was live at once when memory was measured; 0: not known.
};

[[nodiscard]] double median(std::vector<double> values);
[[nodiscard]] double geometric_mean(const std::vector<double>& values);

/// Median over the rounds of `numerator`'s time divided by `denominator`'s in the same round.
[[nodiscard]] double time_ratio(const result& numerator, const result& denominator);

/// Whether `who` can do `what`.
[[nodiscard]] bool eligible(const contestant& who, const workload& what);

/// Does the work once, on a resource made for it.
measurement run_once(const workload& what, const contestant& who, std::size_t repetitions);

/// Measures `what` for each of `who` that is eligible. `progress` is called before every run.
[[nodiscard]] comparison compare(const workload& what, const std::vector<const contestant*>& who,
                                 const plan& how, const std::function<void(const std::string&)>& progress);

}  // namespace perf
