// process: the resident memory of this process, and programs in processes of their own.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace perf {

/// The resident set of this process, in bytes: its high-water mark, and now.
[[nodiscard]] std::size_t resident_peak_bytes();
[[nodiscard]] std::size_t resident_bytes();

/// Runs a program and returns what it printed on stdout. Throws `std::runtime_error` if it fails.
[[nodiscard]] std::string output_of(const std::string& program, const std::vector<std::string>& arguments);

/// The same of this program. A fresh process, not only a fork, so that nothing done earlier is in its memory
/// figures.
[[nodiscard]] std::string output_of_this_program(const std::vector<std::string>& arguments);

}  // namespace perf
