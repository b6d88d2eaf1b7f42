// give_back: returns a block to a resource of the user's, which must not end the thread meanwhile.
#pragma once

#include <cstddef>
#include <memory_resource>
#include <typeinfo>

namespace cistern::detail {

/// `resource.deallocate(block, bytes, alignment)` with cancellation held off: most memory goes back in
/// destructors, which can't be unwound, and what is unwound halfway isn't back. A request that comes
/// meanwhile is honoured at the next cancellation point behind. Passes on what `resource` throws.
///
/// For new/delete and the library's own pools costs a look at their type; for others two atomic operations.
void give_back(std::pmr::memory_resource& resource, void* block, std::size_t bytes, std::size_t alignment);

/// The types of pools, which hold cancellation off themselves where they call upstream. Each is defined
/// beside its pool, and isn't there in a program without it.
[[gnu::weak]] extern const std::type_info* const synchronized_pool_type;
[[gnu::weak]] extern const std::type_info* const unsynchronized_pool_type;

}  // namespace cistern::detail
