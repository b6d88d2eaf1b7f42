// speedscope_file: a trace as a file for speedscope.
#pragma once

#include <string>

#include "trace_sums.hpp"

namespace cistern::tool {

/// Its JSON, with a profile for each of bytes, calls, what was live at the peak, and at the end. `name` is
/// that of the whole.
[[nodiscard]] std::string as_speedscope(const summed_trace& trace, const std::string& name);

}  // namespace cistern::tool
