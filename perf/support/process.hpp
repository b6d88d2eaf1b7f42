// process: the resident memory of this process, and this program run again in a process of its own.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace perf {

/// The resident set of this process, in bytes: its high-water mark, and now.
[[nodiscard]] std::size_t resident_peak_bytes();
[[nodiscard]] std::size_t resident_bytes();

/// Starts this program again with `arguments` and returns what it printed on stdout. A fresh process, not
/// only a fork, so that nothing done earlier is in its memory figures. Throws `std::runtime_error` if it
/// fails.
[[nodiscard]] std::string output_of_this_program(const std::vector<std::string>& arguments);

}  // namespace perf
