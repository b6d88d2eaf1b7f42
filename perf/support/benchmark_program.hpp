// benchmark_program: the main of a Google Benchmark program: its options, its context, its exit status.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "support/command_line.hpp"

namespace perf {

struct benchmark_program {
  std::string name;
  std::string help;                         ///< What it measures; printed by --help, above the options.
  std::vector<own_option> options = {};     ///< That Google Benchmark doesn't have.
  std::function<bool()> instead = nullptr;  ///< Called first; true: it has done all that was asked for.
  /// Registers the benchmarks. One that can't go on throws.
  std::function<void()> register_all = nullptr;
};

/// The program's `main`. The context of what it writes has the library's version and commit, the compiler and
/// the kind of build. Returns the exit status: 0 if all went well; 2, with a message on stderr, for a wrong
/// option; 1 if a benchmark or anything else throws, or if the filter leaves no benchmark.
int run_benchmarks(const benchmark_program& program, int count, char** values);

}  // namespace perf
