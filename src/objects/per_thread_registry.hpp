// per_thread_registry: which per-thread pools are alive, so that ending threads can find them.
#pragma once

#include <cistern/detail/objects/object_cache.hpp>

#include <cstdint>

namespace cistern::detail {

struct pool_identity {
  std::uint32_t number;  // small, reused
  std::uint64_t serial;  // unique
};

// Throws std::bad_alloc.
[[nodiscard]] pool_identity register_pool(object_cache_home& pool);
// Returns when no ending thread is using the pool any more.
void unregister_pool(pool_identity identity) noexcept;

// Enters `cache` into this thread's directory. False if there is no memory, or the thread is ending.
[[nodiscard]] bool remember_cache(pool_identity identity, object_cache* cache) noexcept;

}  // namespace cistern::detail
