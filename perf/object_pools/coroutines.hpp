// coroutines: coroutines that wait for the objects of a shared pool, on an executor of one thread or of
// several.
#pragma once

#include <cstddef>

#include "object_pools/object.hpp"

namespace perf {

inline constexpr unsigned coroutines_per_thread = 64;

/// About `uses` uses.
pool_run run_coroutines(unsigned threads, std::size_t objects, std::size_t uses);

}  // namespace perf
