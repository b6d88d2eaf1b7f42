// mimalloc: mimalloc behind std::pmr::memory_resource, loaded so that it replaces nobody's malloc.
#pragma once

#include <memory_resource>
#include <string>

namespace demo {

/// The process-wide resource. The library is loaded on the first call, from the file that the environment
/// variable CISTERN_PERF_MIMALLOC names or the one that CMake found; never linked, as Debian's defines malloc
/// and operator new and would be under everybody. Throws `std::runtime_error` if it can't be loaded.
[[nodiscard]] std::pmr::memory_resource* mimalloc_resource();

/// Asks mimalloc to give all free memory back to the system.
void mimalloc_collect();

/// "2.0.9", as the loaded library reports it.
[[nodiscard]] std::string mimalloc_version();

}  // namespace demo
