// register_each: one benchmark for each contestant that is a type.
#pragma once

#include <string>
#include <string_view>

#include <benchmark/benchmark.h>

namespace perf {

/// Who takes the time: Google Benchmark, or the benchmark itself, with `SetIterationTime`.
enum class timing { automatic, own };

/// Registers `run.operator()<Contestant>(state)` as `name`/CONTESTANT for each type, named by its `name`.
template <class... Contestants, class Run>
void register_each(const std::string& name, const Run& run, timing how = timing::automatic) {
  const auto add = [&](std::string_view contestant, auto each) {
    auto* const added = benchmark::RegisterBenchmark((name + '/' + std::string(contestant)).c_str(), each);
    if (how == timing::own) added->UseManualTime();
  };
  (add(Contestants::name, [run](benchmark::State& state) { run.template operator()<Contestants>(state); }),
   ...);
}

}  // namespace perf
