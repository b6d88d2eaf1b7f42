// own_memory: where a replay keeps what it needs itself, apart from the malloc that is measured.
#pragma once

#include <memory_resource>

namespace cistern::tool {

/// What reading a trace frees would change where malloc draws its lines, and leave it with memory to begin
/// with: this takes pages from the system, and gives them back. For one thread.
[[nodiscard]] std::pmr::memory_resource* own_memory();

}  // namespace cistern::tool
