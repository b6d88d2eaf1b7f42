// pool_benchmark: the workloads of compare as Google Benchmark rows, and the pools without the virtual call.
//
// compare interleaves contestants and is the source of published ratios. This program is for work on one
// path: it has Google Benchmark's filters, repetitions, JSON output and comparison tools.
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory_resource>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "support/benchmark_program.hpp"
#include "support/contestant.hpp"
#include "support/keep.hpp"
#include "support/measure.hpp"
#include "support/workload.hpp"

namespace {

/// One iteration is one run of the workload's fixed amount of work; only its timed part counts.
void run_workload(benchmark::State& state, const perf::workload& what, const perf::contestant& who) {
  std::uint64_t operations = 0;
  const auto resource = who.make(what.one_block_bytes);
  for (auto _ : state) {
    const perf::measurement one = what.run != nullptr
                                      ? what.run(perf::hide(resource.get()), what.memory_repetitions)
                                      : perf::run_once(what, who, what.memory_repetitions);
    state.SetIterationTime(std::chrono::duration<double>(one.elapsed).count());
    operations += one.operations;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(operations));
  // Shown in seconds with an SI prefix: "3.5n" is 3.5 nanoseconds an operation.
  state.counters["per_operation"] = benchmark::Counter(
      static_cast<double>(operations), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void register_workloads() {
  static const std::vector<perf::workload> all = perf::all_workloads(perf::effort::full);
  for (const perf::workload& what : all) {
    for (const perf::contestant& who : perf::contestants()) {
      if (!perf::eligible(who, what) || (who.there != nullptr && !who.there())) continue;
      const std::string name = what.name + '/' + std::string(who.name);
      benchmark::RegisterBenchmark(name.c_str(),
                                   [&what, &who](benchmark::State& state) { run_workload(state, what, who); })
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

/// What a user of the concrete type pays: size and alignment are constants, the calls are inlined.
template <class Pool, std::size_t bytes>
void static_pair(benchmark::State& state) {
  Pool pool;
  perf::keep(&pool);
  for (auto _ : state) {
    void* block = pool.allocate(bytes);
    perf::touch(block);
    pool.deallocate(block, bytes);
  }
  state.SetItemsProcessed(state.iterations());
}

/// Allocates 1,000 blocks, then frees them in the same order.
template <class Pool, std::size_t bytes>
void static_fifo(benchmark::State& state) {
  Pool pool;
  perf::keep(&pool);
  std::array<void*, 1000> blocks{};
  for (auto _ : state) {
    for (void*& block : blocks) perf::touch(block = pool.allocate(bytes));
    for (void* block : blocks) pool.deallocate(block, bytes);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(blocks.size()));
}

using synchronized = cistern::synchronized_pool_resource;
using unsynchronized = cistern::unsynchronized_pool_resource;
BENCHMARK_TEMPLATE(static_pair, unsynchronized, 64)->Name("static-pair/64B/cistern-unsync");
BENCHMARK_TEMPLATE(static_pair, unsynchronized, 1024)->Name("static-pair/1KiB/cistern-unsync");
BENCHMARK_TEMPLATE(static_fifo, unsynchronized, 64)->Name("static-fifo/64B/cistern-unsync");
BENCHMARK_TEMPLATE(static_pair, synchronized, 64)->Name("static-pair/64B/cistern-sync");
BENCHMARK_TEMPLATE(static_pair, synchronized, 1024)->Name("static-pair/1KiB/cistern-sync");
BENCHMARK_TEMPLATE(static_fifo, synchronized, 64)->Name("static-fifo/64B/cistern-sync");

}  // namespace

int main(int argc, char** argv) {
  return perf::run_benchmarks(
      {.name = "pool_benchmark",
       .help = "The workloads of cistern-compare, and the pools without the virtual call.\n",
       .register_all = register_workloads},
      argc, argv);
}
