// peak_memory: the peak resident set of one workload under one contestant, in a process of its own.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "support/contestant.hpp"
#include "support/workload.hpp"

namespace perf {

struct peak_memory {
  std::size_t peak_bytes = 0;    ///< The kernel's high-water mark of the process (VmHWM).
  std::size_t growth_bytes = 0;  ///< How much of that came after the process had started up.
  std::size_t held_bytes = 0;    ///< What of the growth was held when a workload's `hold` had settled; or 0.
};

/// The resident set of this process, in bytes: its high-water mark, and now.
[[nodiscard]] std::size_t resident_peak_bytes();
[[nodiscard]] std::size_t resident_bytes();

/// Starts this program again with `arguments` and returns what it printed on stdout. A fresh process, not
/// only a fork, so that nothing done earlier is in its memory figures. Throws `std::runtime_error` if it
/// fails.
[[nodiscard]] std::string output_of_this_program(const std::vector<std::string>& arguments);

/// Makes the high-water mark what is resident now. Throws `std::runtime_error` if the system doesn't let us.
void forget_resident_peak();

/// Runs the workload's fixed amount of work once in this process, and says what it took. Only meaningful in
/// a process that has done nothing else.
[[nodiscard]] peak_memory peak_memory_here(const workload& what, const contestant& who);

/// Starts this program again with `arguments` and `--peak-memory-of WORKLOAD CONTESTANT`, `runs` times one
/// after another, and returns the medians. Throws `std::runtime_error` if a child fails.
[[nodiscard]] peak_memory peak_memory_in_child(const workload& what, const contestant& who, std::size_t runs,
                                               std::vector<std::string> arguments);

}  // namespace perf
