// trace_workloads: the allocations of real programs, recorded before, as workloads.
#pragma once

#include <string>
#include <vector>

#include "support/workload.hpp"

namespace perf {

/// One workload for each file NAME.trace in `folder`, by name. A trace is read when its workload is
/// prepared. Throws `std::runtime_error` if the folder can't be read or has none.
[[nodiscard]] std::vector<workload> trace_workloads(const std::string& folder);

}  // namespace perf
