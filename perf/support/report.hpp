// report: the figures of many comparisons as tables, Markdown and CSV.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "support/measure.hpp"

namespace perf {

/// Machine, compiler, libraries and build, one line each.
[[nodiscard]] std::vector<std::string> environment();

/// What is wrong with this build for measuring; empty if nothing is.
[[nodiscard]] std::string build_warning();

/// One line for the terminal: the workload, then "ns (time relative to the reference)" for each contestant.
void print_row(std::ostream& out, const comparison& one, const std::vector<const contestant*>& who);
/// The line above such rows.
void print_header(std::ostream& out, const std::vector<const contestant*>& who);

/// Geometric means by group, what our pools gain over the others, and peak memory.
void print_summary(std::ostream& out, const std::vector<comparison>& all,
                   const std::vector<const contestant*>& who);

/// The whole report in Markdown: environment, times, summary, memory.
void write_markdown(std::ostream& out, const std::vector<comparison>& all,
                    const std::vector<const contestant*>& who, const std::string& command);

/// Every round of every contestant, and the peak memory, one line each.
void write_csv(std::ostream& out, const std::vector<comparison>& all);

}  // namespace perf
