// thread_registry: which pools are alive, and which caches each thread has in them.
#pragma once

#include <cistern/detail/pool/thread_cache.hpp>

#include <cstdint>

namespace cistern::detail {

/// A pool as the registry sees it.
class cache_owner {
 public:
  /// Takes back the cache of a thread that ends; called on that thread.
  virtual void retire(thread_cache& cache) noexcept = 0;
  /// Takes, and lets go of, every lock of the pool, around a fork.
  virtual void before_fork() noexcept = 0;
  virtual void after_fork() noexcept = 0;

 protected:
  ~cache_owner() = default;
};

/// A pool's entry. `id` is reused after the pool's death, as low as possible; `serial` never is.
struct pool_ticket {
  std::uint32_t id = 0;
  std::uint64_t serial = 0;
};

/// Makes a pool known. May throw `std::bad_alloc`. O(log(pools)).
[[nodiscard]] pool_ticket enroll(cache_owner& owner);

/// The end of a pool, or of all its caches: no thread finds a cache of this ticket from now on, and those
/// that are giving one back have finished.
void withdraw(pool_ticket ticket) noexcept;
/// The same, and the pool goes on under the ticket returned.
[[nodiscard]] pool_ticket renew(pool_ticket ticket) noexcept;

/// This thread's cache in a pool, or null. Puts it into `thread_table`. O(1).
[[nodiscard]] thread_cache* find_cache(pool_ticket ticket) noexcept;

/// Whether this thread has given its caches back for good, as it does at its end.
[[nodiscard]] bool thread_is_ending() noexcept;

/// Makes `cache` this thread's cache in a pool until the thread ends. False where there is no memory to note
/// it.
[[nodiscard]] bool remember_cache(pool_ticket ticket, thread_cache& cache) noexcept;

}  // namespace cistern::detail
