// report: writes a trace's report: one page to look at and to send.
#pragma once

#include <string>

namespace cistern::tool {

struct report_options {
  std::string trace;   ///< A path, or "-" for standard input.
  std::string output;  ///< Likewise; empty: the trace's name and ".html", in the working directory.
  std::string replay;  ///< What `replay --json` wrote; may be empty.
  std::string advice;  ///< What `advise --json` wrote; may be empty.
};

/// Returns the exit status. A page that was there is replaced when the new one is whole. Throws
/// `std::runtime_error` if this program was built without the page, and what readers of traces throw.
[[nodiscard]] int write_report(const report_options& options);

}  // namespace cistern::tool
