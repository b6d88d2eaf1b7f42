// contest_program: a whole benchmark made of contests: its options, its report, its raw data.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "support/contest.hpp"

namespace perf {

struct contest_program {
  std::string name;
  std::string usage;  ///< All of it.
  std::function<std::vector<contest>()> contests;
  std::function<void(std::ostream&, const contest_result&)> print;
  /// Where there is none, the program has no `--markdown`.
  std::function<void(std::ostream&, const std::vector<contest_result>&)> print_markdown = nullptr;
};

/// The program's `main`. Options: --filter, --rounds, --quick, --csv, --markdown, --help.
int run_contests(const contest_program& program, int count, char** values);

}  // namespace perf
