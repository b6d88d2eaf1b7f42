// contestants: the object pools that object_pool_bench measures beside each other.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace perf {

/// Threads that acquire an object, touch it and give it back, again and again.
struct pool_workload {
  std::string name;
  std::string help;
  unsigned threads = 1;  ///< Or goroutines; with coroutines, the threads that run them.
  std::size_t objects = 0;
  bool waits = false;       ///< There are fewer objects than threads.
  bool coroutines = false;  ///< 64 on each thread, instead of a loop.
};

struct pool_contestant {
  std::string name;
  /// Runs about `uses` uses; returns the wall-clock nanoseconds per use, all threads together.
  std::function<double(const pool_workload&, std::size_t uses)> run;
  /// Which of our pools does the same; empty for ours, and for what nobody would replace by one.
  std::string counterpart = {};
};

/// Cistern's pools that can do `what`, and those that people write in C++.
[[nodiscard]] std::vector<pool_contestant> cpp_pools(const pool_workload& what);

/// One run of coroutines that wait for objects of a shared pool.
double run_coroutines(const pool_workload& what, std::size_t uses);

}  // namespace perf
