// benchmark_program: the main of a Google Benchmark program: its options, its context, its exit status.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

namespace perf {

/// An option that Google Benchmark doesn't have: --NAME, or --NAME=VALUE, or --NAME VALUE.
struct own_option {
  std::string name;
  std::string value_name;  ///< Empty: the option takes no value.
  std::string help;
  std::function<void(const std::string& value)> take;
};

struct benchmark_program {
  std::string name;
  std::string help;  ///< What it measures; printed by --help, above the options.
  std::vector<own_option> options = {};
  /// Called when all own options are taken. True: it has done what was asked for, and no benchmark is run.
  std::function<bool()> instead = nullptr;
  /// Registers benchmarks; null where BENCHMARK() has registered them all. A benchmark that can't go on
  /// throws.
  std::function<void()> register_all = nullptr;
};

/// What is wrong with this build for measuring; empty if nothing is.
[[nodiscard]] std::string build_warning();

/// The program's `main`. The context of what it writes has the library's version and commit, the compiler and
/// the kind of build. Returns the exit status: 0 if all went well; 2, with a message on stderr, for a wrong
/// option; 1 if a benchmark or anything else throws, or if the filter leaves no benchmark.
int run_benchmarks(const benchmark_program& program, int count, char** values);

}  // namespace perf
