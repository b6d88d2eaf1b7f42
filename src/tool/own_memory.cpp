#include "own_memory.hpp"

#include <cistern/page_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

namespace cistern::tool {

std::pmr::memory_resource* own_memory() {
  static unsynchronized_pool_resource pool({.max_idle_bytes = 0}, pages());
  return &pool;
}

}  // namespace cistern::tool
