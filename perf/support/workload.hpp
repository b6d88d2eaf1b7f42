// workload: one kind of work over a memory resource, and the list of all of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory_resource>
#include <string>
#include <vector>

namespace perf {

/// What one run of a workload took: the timed part only, without set-up, warm-up and tear-down.
struct measurement {
  std::chrono::nanoseconds elapsed{};
  std::uint64_t operations = 0;  ///< As one thread counts them.

  [[nodiscard]] double nanoseconds_per_operation() const {
    return static_cast<double>(elapsed.count()) / static_cast<double>(operations);
  }
};

struct workload {
  std::string name;
  std::string operation;               ///< What one operation is, for the report.
  std::size_t one_block_bytes = 0;     ///< The only size it asks for; 0: many sizes.
  unsigned threads = 0;                ///< 0: unthreaded, open to resources that aren't thread-safe.
  std::size_t memory_repetitions = 1;  ///< The same fixed work for everyone when peak memory is measured.
  std::function<measurement(std::pmr::memory_resource*, std::size_t repetitions)> run;
};

using clock = std::chrono::steady_clock;

/// Calls `work` once or twice to warm up, then times `repetitions` calls.
template <class Work>
measurement time_repetitions(std::size_t repetitions, std::uint64_t operations_per_repetition, Work&& work) {
  work();
  const auto start = clock::now();
  for (std::size_t i = 0; i < repetitions; ++i) work();
  return {clock::now() - start, repetitions * operations_per_repetition};
}

[[nodiscard]] std::vector<workload> block_workloads();      ///< Bare blocks on one thread.
[[nodiscard]] std::vector<workload> container_workloads();  ///< Containers on one thread.
[[nodiscard]] std::vector<workload> threaded_workloads();   ///< 1, 2 and all hardware threads.

/// All of the above, in that order.
[[nodiscard]] std::vector<workload> all_workloads();

}  // namespace perf
