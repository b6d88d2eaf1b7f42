// snmalloc_resource: snmalloc behind std::pmr::memory_resource, where its library is named.
#pragma once

#include <memory_resource>
#include <string>

namespace perf {

/// Whether the environment variable CISTERN_PERF_SNMALLOC names a file. Nothing is loaded yet.
[[nodiscard]] bool snmalloc_named();

/// The process-wide resource over snmalloc. The library is loaded on the first call, privately, from the file
/// that CISTERN_PERF_SNMALLOC names: one built with the prefix sn_, whose functions can't be taken for the C
/// library's (docs/benchmarking.md says how). Throws `std::runtime_error` if none is named or it can't be
/// loaded.
[[nodiscard]] std::pmr::memory_resource* snmalloc_resource();

/// The library's file: snmalloc doesn't tell its version.
[[nodiscard]] std::string snmalloc_file();

}  // namespace perf
