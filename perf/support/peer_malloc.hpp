// peer_malloc: other allocators behind std::pmr::memory_resource, loaded so that they replace nobody's
// malloc.
#pragma once

#include <memory_resource>
#include <string>
#include <string_view>
#include <vector>

namespace perf {

/// An allocator whose library was found and loaded. There is one of each in the process.
struct peer_malloc {
  std::string_view name;
  std::string version;  ///< As the library reports it, and its file.
  std::pmr::memory_resource* resource = nullptr;
  void (*give_back)(std::pmr::memory_resource&) = nullptr;  ///< Asks it to give free memory to the system.
};

struct peer_search {
  std::vector<peer_malloc> found;
  std::vector<std::string> missing;  ///< Of each that isn't there its name and why, for a message.
};

/// All that we know of, searched for and loaded on the first call. Where a library is looked for, in this
/// order: the file that CISTERN_PERF_MIMALLOC or CISTERN_PERF_SNMALLOC names; the last by name of those in
/// the folder CISTERN_PERF_PEERS that are called like it; what the system has installed.
[[nodiscard]] const peer_search& peer_mallocs();

/// A function of the library of Debian's mimalloc. Throws `std::runtime_error` if there is none.
[[nodiscard]] void* mimalloc_function(const char* symbol);

}  // namespace perf
