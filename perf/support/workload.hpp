// workload: one kind of work over a memory resource, and the list of all of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>
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

/// Makes a contestant's resource anew.
using resource_maker = std::function<std::shared_ptr<std::pmr::memory_resource>()>;
/// Called while only what has to stay is live; with the resource where it shall give back what it can.
using settled_hook = std::function<void(std::pmr::memory_resource*)>;

/// Has `run` or `run_lives`.
struct workload {
  std::string name;
  std::string operation;               ///< What one operation is, for the report.
  std::size_t one_block_bytes = 0;     ///< The only size it asks for; 0: many sizes.
  unsigned threads = 0;                ///< 0: unthreaded, open to resources that aren't thread-safe.
  std::size_t memory_repetitions = 1;  ///< The same fixed work for everyone when peak memory is measured.
  std::string_view group = {};         ///< Averaged with its like; empty: with its number of threads.
  std::string_view reference = {};     ///< Whose times others' are relative to; empty: mimalloc's.
  bool net = false;  ///< What it takes on a resource that does nothing is taken off everyone's time.
  std::function<measurement(std::pmr::memory_resource*, std::size_t repetitions)> run = nullptr;
  /// Where resources come and go within the work: only for contestants that do.
  std::function<measurement(const resource_maker&, std::size_t repetitions)> run_lives = nullptr;
  /// Where there is one, memory is measured on this, with what is held when it calls `settled`, once.
  std::function<void(const resource_maker&, const settled_hook& settled)> hold = nullptr;
  /// Called before the first run in a process; reads what the work needs.
  std::function<void()> prepare = nullptr;
  /// The most that `hold` has live at once, as asked for; known after `prepare`.
  std::function<std::size_t()> asked_bytes = nullptr;
};

/// How much work a workload makes of itself. Names say which: another amount is another workload.
enum class effort { full, quick };

using clock = std::chrono::steady_clock;

/// Calls `work` once or twice to warm up, then times `repetitions` calls.
template <class Work>
measurement time_repetitions(std::size_t repetitions, std::uint64_t operations_per_repetition, Work&& work) {
  work();
  const auto start = clock::now();
  for (std::size_t i = 0; i < repetitions; ++i) work();
  return {clock::now() - start, repetitions * operations_per_repetition};
}

[[nodiscard]] std::vector<workload> block_workloads();                 ///< Bare blocks on one thread.
[[nodiscard]] std::vector<workload> large_workloads(effort how_much);  ///< Large blocks, and pages of them.
[[nodiscard]] std::vector<workload> phase_workloads(effort how_much);  ///< What one phase leaves to the next.
[[nodiscard]] std::vector<workload> life_workloads();                  ///< Resources that live shortly.
[[nodiscard]] std::vector<workload> container_workloads();             ///< Containers on one thread.
[[nodiscard]] std::vector<workload> threaded_workloads();              ///< 1, 2 and all hardware threads.

/// All of the above.
[[nodiscard]] std::vector<workload> all_workloads(effort how_much);

}  // namespace perf
