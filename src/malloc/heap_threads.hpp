// heap_threads: the short way to a thread's cache in the heap, over the directory of thread caches.
#pragma once

#include <cistern/detail/pool/thread_cache.hpp>

#include <cstdint>

namespace cistern::detail {

/// The slots of this thread's cache, or slots without room or blocks where it has none: then every operation
/// takes the slow path, so that the fast one need not ask. "initial-exec": no call finds it, and none of its
/// uses allocates.
extern constinit thread_local cache_slots* heap_slots __attribute__((tls_model("initial-exec")));
/// The same; but where there is a sampled guard, always slots without room or blocks. For fast paths that
/// would have to ask it, and don't: an allocation, and a free that doesn't look the block up.
extern constinit thread_local cache_slots* unwatched_slots __attribute__((tls_model("initial-exec")));
/// How many allocations that find no slots there this thread makes until the guard is asked again.
extern constinit thread_local std::int64_t unasked_allocations __attribute__((tls_model("initial-exec")));

/// Whether `heap_slots` belong to a cache.
[[nodiscard]] bool has_heap_slots() noexcept;
/// To be called once the heap's pool is made, and before the next.
void watch_heap_threads();
/// `heap_slots` are those of this cache from now on, until this thread gives it back; and `unwatched_slots`,
/// unless somebody watches.
void use_heap_slots(thread_cache& cache, bool is_watched) noexcept;

}  // namespace cistern::detail
