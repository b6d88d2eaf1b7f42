// CISTERN_MALLOC_STATS=1: what the heap holds and has done, on stderr, when the process exits.
#include <cistern/detail/base/environment.hpp>
#include <cistern/pool_statistics.hpp>

#include <cstdio>

#include "heap.hpp"
#include "heap_guard.hpp"
#include "large_blocks.hpp"
#include <unistd.h>

namespace {

using cistern::pool_statistics;

void print_totals(const pool_statistics& pool, const cistern::detail::large_blocks::totals& large) noexcept {
  constexpr std::size_t kib = 1024;
  ::dprintf(STDERR_FILENO,
            "cistern malloc, process %ld: in use %zu KiB, idle %zu KiB, overhead %zu KiB, held %zu KiB, peak "
            "%zu KiB\n"
            "large blocks: %zu, %zu KiB; calls of the system for pieces: %llu, given back: %llu\n",
            static_cast<long>(::getpid()), pool.in_use_bytes / kib, pool.idle_bytes / kib,
            pool.overhead_bytes / kib, pool.upstream_bytes / kib, pool.peak_upstream_bytes / kib,
            large.live_blocks, large.live_bytes / kib,
            static_cast<unsigned long long>(pool.upstream_allocations),
            static_cast<unsigned long long>(pool.upstream_deallocations));
}

void print_buckets(const pool_statistics& pool) noexcept {
  ::dprintf(STDERR_FILENO, "%10s %10s %10s %12s %10s %12s %10s\n", "block B", "live", "free", "hits",
            "misses", "returned", "discarded");
  for (const cistern::bucket_statistics& bucket : pool.buckets) {
    ::dprintf(STDERR_FILENO, "%10zu %10zu %10zu %12llu %10llu %12llu %10llu\n", bucket.block_bytes,
              bucket.live_blocks, bucket.depth, static_cast<unsigned long long>(bucket.hits),
              static_cast<unsigned long long>(bucket.misses),
              static_cast<unsigned long long>(bucket.returned),
              static_cast<unsigned long long>(bucket.discarded));
  }
}

void print_guard(const cistern::sampling_guard_statistics& guard) noexcept {
  ::dprintf(STDERR_FILENO,
            "guarded blocks: %llu, in use %zu, quarantined %zu, too large %llu, no slot %llu, refused %llu\n",
            static_cast<unsigned long long>(guard.sampled), guard.slots_in_use, guard.slots_quarantined,
            static_cast<unsigned long long>(guard.too_large), static_cast<unsigned long long>(guard.no_slot),
            static_cast<unsigned long long>(guard.refused));
}

[[gnu::destructor]] void report_at_exit() noexcept {
  if (!cistern::detail::environment_switches_on("CISTERN_MALLOC_STATS")) {
    return;
  }
  const pool_statistics pool = cistern::detail::heap::statistics();
  print_totals(pool, cistern::detail::large_blocks::in_use());
  if (auto* const guard = cistern::detail::heap_guard::now(); guard != nullptr) {
    print_guard(guard->blocks().statistics());
  }
  print_buckets(pool);
}

}  // namespace
