// What `memory_misuse.cpp` has done by code of a user that no sanitizer sees.
#pragma once

#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>

namespace plain {

/// Fills blocks of many sizes, and frees them in another order.
void use(cistern::unsynchronized_pool_resource& pool);
void use(cistern::synchronized_pool_resource& pool);

/// Frees a block by the inline function.
void free(cistern::unsynchronized_pool_resource& pool, void* block, std::size_t bytes);
void free(cistern::synchronized_pool_resource& pool, void* block, std::size_t bytes);

}  // namespace plain
