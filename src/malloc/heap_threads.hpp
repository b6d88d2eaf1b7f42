// heap_threads: how a thread finds its cache in the heap, the only pool of its engine.
#pragma once

#include <cistern/detail/pool/thread_cache.hpp>

#include <array>

namespace cistern::detail {

/// The slots of this thread's cache, or slots without room or blocks where it has none: then every operation
/// takes the slow path, so that the fast one need not ask. "initial-exec": no call finds it, and none of its
/// uses allocates.
extern constinit thread_local cache_slot* heap_slots __attribute__((tls_model("initial-exec")));

/// Keeps this thread from getting a cache while it lives: what is allocated meanwhile comes from the depot.
/// For the moments when the system is asked to call us at a thread's end, and may itself allocate.
class cache_pause {
 public:
  cache_pause() noexcept;
  ~cache_pause();
  cache_pause(const cache_pause&) = delete;
  cache_pause& operator=(const cache_pause&) = delete;

 private:
  bool before_;
};

}  // namespace cistern::detail
