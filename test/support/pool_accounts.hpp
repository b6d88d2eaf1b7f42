// accounts_fault: compares what a pool says it holds with what a checking upstream has counted.
#pragma once

#include <cistern/pool_statistics.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <cstdint>
#include <string>

namespace cistern::test_support {

/// Allocations and deallocations that the pool's users have made.
struct operations {
  std::uint64_t allocations = 0;
  std::uint64_t deallocations = 0;
};

/// What the rows of all buckets and of the oversize blocks add up to.
[[nodiscard]] inline operations counted_operations(const pool_statistics& statistics) {
  operations sum{statistics.oversize.allocations, statistics.oversize.deallocations};
  for (const bucket_statistics& row : statistics.buckets) {
    sum.allocations += row.hits + row.misses;
    sum.deallocations += row.returned + row.discarded;
  }
  return sum;
}

/// The row of one block size; all zero where the bucket was never used.
[[nodiscard]] inline bucket_statistics row_of(const pool_statistics& statistics, std::size_t block_bytes) {
  for (const bucket_statistics& row : statistics.buckets) {
    if (row.block_bytes == block_bytes) {
      return row;
    }
  }
  return {};
}

/// What is idle, added up by where it lies.
[[nodiscard]] inline std::size_t idle_places_bytes(const pool_statistics& s) {
  return s.idle_in_lists_bytes + s.idle_in_caches_bytes + s.idle_in_spans_bytes + s.idle_in_pages_bytes +
         s.idle_in_regions_bytes;
}

/// Empty when all of the pool's accounts agree in this quiet moment, else what doesn't.
template <class Pool>
[[nodiscard]] std::string accounts_fault(const Pool& pool, const testing::checking_resource& upstream) {
  pool.check_invariants();
  const pool_statistics s = pool.statistics();
  const auto differ = [](const char* what, std::uint64_t one, std::uint64_t other) {
    return std::string(what) + ": " + std::to_string(one) + " != " + std::to_string(other);
  };
  if (s.in_use_bytes + s.idle_bytes + s.overhead_bytes != s.upstream_bytes) {
    return differ("in use + idle + overhead != held", s.in_use_bytes + s.idle_bytes + s.overhead_bytes,
                  s.upstream_bytes);
  }
  if (idle_places_bytes(s) != s.idle_bytes) {
    return differ("idle by where it lies != idle", idle_places_bytes(s), s.idle_bytes);
  }
  if (s.upstream_bytes != upstream.outstanding_bytes()) {
    return differ("bytes held", s.upstream_bytes, upstream.outstanding_bytes());
  }
  if (s.upstream_allocations != upstream.allocations()) {
    return differ("upstream allocations", s.upstream_allocations, upstream.allocations());
  }
  if (s.upstream_deallocations != upstream.deallocations()) {
    return differ("upstream deallocations", s.upstream_deallocations, upstream.deallocations());
  }
  if (s.peak_upstream_bytes < s.upstream_bytes) {
    return differ("peak below what is held", s.peak_upstream_bytes, s.upstream_bytes);
  }
  return {};
}

}  // namespace cistern::test_support
