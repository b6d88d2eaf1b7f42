// mimalloc_stl: mimalloc's own standard allocator, over the library that is loaded privately.
#pragma once

#include <mimalloc.h>

namespace perf {

/// Loads mimalloc; to be called before the first `mi_stl_allocator` allocates. The functions that it calls,
/// `mi_new_n` and `mi_free`, are defined in this program and jump to the loaded library's: what the procedure
/// linkage table of a linked library does, at the same cost. Throws `std::runtime_error` if it can't be
/// loaded.
void load_mimalloc_stl();

}  // namespace perf
