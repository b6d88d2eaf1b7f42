// mimalloc_resource: mimalloc behind std::pmr::memory_resource, loaded so that it replaces nobody's malloc.
#pragma once

#include <memory_resource>
#include <string>

namespace perf {

/// The process-wide resource over mimalloc. The library is loaded on the first call, from the file named by
/// the environment variable CISTERN_PERF_MIMALLOC or the one CMake found. It is loaded privately, never
/// linked: Debian's libmimalloc.so defines malloc and operator new, and linking it would put mimalloc under
/// every other contestant as well. Throws `std::runtime_error` if the library can't be loaded.
[[nodiscard]] std::pmr::memory_resource* mimalloc_resource();

/// Like `mimalloc_resource`, but gives the size back with `mi_free_size`.
[[nodiscard]] std::pmr::memory_resource* mimalloc_sized_resource();

/// Whether CISTERN_PERF_MIMALLOC names a library, so that the one that CMake found can be measured beside it.
[[nodiscard]] bool mimalloc_named();

/// The same over the library that CMake found, whatever the variable says.
[[nodiscard]] std::pmr::memory_resource* mimalloc_found_resource();

/// Asks mimalloc to give all free memory back to the system.
void mimalloc_collect();
void mimalloc_found_collect();

/// A function of the loaded library by its name. Throws `std::runtime_error` if there is none.
[[nodiscard]] void* mimalloc_function(const char* name);

/// "2.0.9", as the loaded library reports it.
[[nodiscard]] std::string mimalloc_version();
[[nodiscard]] std::string mimalloc_found_version();

}  // namespace perf
