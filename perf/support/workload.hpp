// workload: one kind of work over a memory resource, as a benchmark, and the list of all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

namespace perf {

/// Makes a contestant's resource anew.
using resource_maker = std::function<std::shared_ptr<std::pmr::memory_resource>()>;
/// Called while only what has to stay is live; with the resource where it shall give back what it can.
using settled_hook = std::function<void(std::pmr::memory_resource*)>;

/// Has `run` or `run_lives`. An iteration of the benchmark is one operation. What it sets up, and one batch
/// of operations to warm up, lies outside the timed loop.
struct workload {
  std::string name;
  std::string operation;               ///< What one operation is: the benchmark's label.
  std::size_t one_block_bytes = 0;     ///< The only size it asks for; 0: many sizes.
  unsigned threads = 0;                ///< 0: unthreaded, open to resources that aren't thread-safe.
  std::int64_t memory_operations = 1;  ///< The same fixed work for everyone when peak memory is measured.
  std::string area = "pool";
  bool net = false;      ///< Done on a resource that does nothing as well: what the work itself takes.
  bool rewinds = false;  ///< Tells a resource that never frees when nothing is live.
  std::function<void(benchmark::State&, std::pmr::memory_resource*)> run = nullptr;
  /// Where resources come and go within the work: only for contestants that do.
  std::function<void(benchmark::State&, const resource_maker&)> run_lives = nullptr;
  /// Where there is one, memory is measured on this, with what is held when it calls `settled`, once.
  std::function<void(const resource_maker&, const settled_hook& settled)> hold = nullptr;
  /// Called before the first run in a process; reads what the work needs.
  std::function<void()> prepare = nullptr;
  /// The most that `hold` has live at once, as asked for; known after `prepare`.
  std::function<std::size_t()> live_bytes = nullptr;
};

/// How much work a workload makes of itself. Names say which: another amount is another workload.
enum class effort { full, quick };

/// Calls `work`, which does so many operations, once to warm up, then as often as the benchmark asks for.
template <class Work>
void time_batches(benchmark::State& state, std::size_t operations, Work&& work) {
  work();
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(operations))) work();
}

[[nodiscard]] std::vector<workload> block_workloads(effort how_much);  ///< Bare blocks on one thread.
[[nodiscard]] std::vector<workload> phase_workloads(effort how_much);  ///< What one phase leaves to the next.
[[nodiscard]] std::vector<workload> life_workloads();                  ///< Resources that live shortly.
[[nodiscard]] std::vector<workload> container_workloads();             ///< Containers on one thread.
[[nodiscard]] std::vector<workload> threaded_workloads();              ///< 1, 2 and all hardware threads.

}  // namespace perf
