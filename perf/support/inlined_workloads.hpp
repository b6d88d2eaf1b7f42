// inlined_workloads: pools by their own type, without the virtual call of a memory_resource.
#pragma once

namespace perf {

/// Registers benchmarks of what a user of the concrete type pays: size and alignment are constants, and what
/// the pool's header has is inlined.
void register_inlined_workloads();

}  // namespace perf
