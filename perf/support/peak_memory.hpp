// peak_memory: what one workload takes of memory under one contestant, in a process of its own.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "support/contestant.hpp"
#include "support/workload.hpp"

namespace perf {

/// Of a fixed amount of work, the same for everyone.
struct peak_memory {
  std::size_t peak_bytes = 0;  ///< What the work added to the resident set, at most.
  std::size_t left_bytes = 0;  ///< What of it was held when a workload's `hold` had settled; or 0.
  std::size_t held_bytes = 0;  ///< And when the resource had given back what it can.
  std::size_t live_bytes = 0;  ///< The most that was live at once, as asked for; 0: not known.
  account kept;                ///< Of resources that keep an account, at the end.
};

/// Does the workload's fixed amount of work once in this process, and says what it took. Only meaningful in
/// a process that has done nothing else and has registered no benchmark.
[[nodiscard]] peak_memory peak_memory_here(const workload& what, const contestant& who);

void print(const peak_memory& taken);
/// Starts this program again with `arguments`, upon which it `print`s. Throws `std::runtime_error` if it
/// fails.
[[nodiscard]] peak_memory peak_memory_in_child(const std::vector<std::string>& arguments);

}  // namespace perf
