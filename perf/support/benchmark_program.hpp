// benchmark_program: the main of a Google Benchmark program that registers its benchmarks as it starts.
#pragma once

#include <functional>
#include <string>

#include <benchmark/benchmark.h>

#include "support/command_line.hpp"

namespace perf {

/// The program's exit status; 2 for an option that Google Benchmark doesn't know.
inline int run_benchmarks(const std::string& name, const std::function<void()>& register_all, int count,
                          char** values) {
  const auto body = [&] {
    register_all();
    benchmark::Initialize(&count, values);
    if (benchmark::ReportUnrecognizedArguments(count, values)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
  };
  return run_program(name, body, [](std::ostream&) {});
}

}  // namespace perf
