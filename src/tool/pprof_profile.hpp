// pprof_profile: a trace as a profile for pprof.
#pragma once

#include <string>

#include "trace_sums.hpp"

namespace cistern::tool {

/// The bytes of a profile.proto file, uncompressed: for each stack calls, bytes, and what was live at the
/// peak and at the end.
[[nodiscard]] std::string as_pprof(const summed_trace& trace);

}  // namespace cistern::tool
