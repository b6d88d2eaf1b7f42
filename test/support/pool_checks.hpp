// pool_checks: what tests of pools share: accounts against a checking upstream, blocks with known content.
#pragma once

#include <cistern/pool_statistics.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "pool_accounts.hpp"
#include "sanitizers.hpp"
#include "zeros.hpp"

namespace cistern::test_support {

/// A number of repetitions: a tenth of `count` in builds that a sanitizer slows down.
[[nodiscard]] constexpr std::size_t scaled(std::size_t count) {
  return sanitized ? count / 10 : count;
}

/// Whether the pool's accounts are those of the checking upstream that it alone uses, and agree with each
/// other: empty, or what differs. `most_under_way_bytes`: what threads asked of upstream at the same time;
/// the two may have seen those calls in another order, so their peaks may differ by as much.
[[nodiscard]] inline std::string accounts_fault(const pool_statistics& s,
                                                const testing::checking_resource& upstream,
                                                std::size_t most_under_way_bytes = 0) {
  std::ostringstream fault;
  const auto same = [&](const char* what, std::uint64_t pool_says, std::uint64_t expected) {
    if (pool_says != expected) fault << what << " is " << pool_says << ", not " << expected << "; ";
  };
  same("upstream_bytes", s.upstream_bytes, upstream.outstanding_bytes());
  same("in use + idle + overhead", s.in_use_bytes + s.idle_bytes + s.overhead_bytes, s.upstream_bytes);
  same("idle by where it lies", idle_places_bytes(s), s.idle_bytes);
  const std::size_t peak = upstream.peak_bytes();
  if (std::max(s.peak_upstream_bytes, peak) - std::min(s.peak_upstream_bytes, peak) > most_under_way_bytes) {
    same("peak_upstream_bytes", s.peak_upstream_bytes, peak);
  }
  same("upstream_allocations", s.upstream_allocations, upstream.allocations());
  same("upstream_deallocations", s.upstream_deallocations, upstream.deallocations());
  std::size_t in_use_bytes = s.oversize.live_bytes;
  std::size_t previous_block_bytes = 0;
  for (const bucket_statistics& bucket : s.buckets) {
    in_use_bytes += bucket.live_blocks * bucket.block_bytes;
    if (bucket.block_bytes <= previous_block_bytes) fault << "buckets are out of order; ";
    previous_block_bytes = bucket.block_bytes;
  }
  same("in_use_bytes", s.in_use_bytes, in_use_bytes);
  return fault.str();
}

/// The same, and the pool's own invariants (which abort).
template <class Pool>
[[nodiscard]] std::string fault_in(const Pool& pool, const testing::checking_resource& upstream,
                                   std::size_t most_under_way_bytes = 0) {
  pool.check_invariants();
  return accounts_fault(pool.statistics(), upstream, most_under_way_bytes);
}

/// What a refusal leaves as it was. Before it, idle memory is gathered, so where that lies may differ.
[[nodiscard]] inline bool same_but_for_idle_places(pool_statistics one, pool_statistics other) {
  for (pool_statistics* each : {&one, &other}) {
    each->idle_in_lists_bytes = each->idle_in_caches_bytes = each->idle_in_spans_bytes = 0;
    each->idle_in_pages_bytes = each->idle_in_regions_bytes = each->idle_untouched_bytes = 0;
  }
  return one == other;
}

/// The bucket of blocks of this size, all zero where it was never used.
[[nodiscard]] inline bucket_statistics bucket_of(const pool_statistics& s, std::size_t block_bytes) {
  for (const bucket_statistics& bucket : s.buckets) {
    if (bucket.block_bytes == block_bytes) return bucket;
  }
  return {.block_bytes = block_bytes};
}

/// A block as its user knows it.
struct user_block {
  void* ptr = nullptr;
  std::size_t bytes = 0;      ///< As asked for.
  std::size_t alignment = 1;  ///< As asked for.
  unsigned char seed = 0;     ///< Of its content.

  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(ptr); }
  [[nodiscard]] bool aligned() const { return reinterpret_cast<std::uintptr_t>(ptr) % alignment == 0; }
};

/// Of each block so many bytes at either end are filled and checked.
inline constexpr std::size_t checked_end_bytes = 512;

/// Fills the ends of a block with bytes that follow from `seed`.
inline void fill(const user_block& block, std::size_t bytes) {
  const std::size_t end_bytes = bytes < checked_end_bytes ? bytes : checked_end_bytes;
  std::memset(block.ptr, block.seed, end_bytes);
  std::memset(block.data() + (bytes - end_bytes), block.seed, end_bytes);
}

/// Whether `fill`'s content is still there.
[[nodiscard]] inline bool filled(const user_block& block, std::size_t bytes) {
  const std::size_t end_bytes = bytes < checked_end_bytes ? bytes : checked_end_bytes;
  return is_filled_with(block.seed, block.data(), end_bytes) &&
         is_filled_with(block.seed, block.data() + (bytes - end_bytes), end_bytes);
}

/// Allocates `count` blocks of one size.
template <class Pool>
[[nodiscard]] std::vector<void*> allocate_many(Pool& pool, std::size_t count, std::size_t bytes,
                                               std::size_t alignment = alignof(std::max_align_t)) {
  std::vector<void*> blocks(count);
  for (void*& block : blocks) block = pool.allocate(bytes, alignment);
  return blocks;
}

/// Frees blocks of one size, first one first.
template <class Pool>
void deallocate_all(Pool& pool, const std::vector<void*>& blocks, std::size_t bytes,
                    std::size_t alignment = alignof(std::max_align_t)) {
  for (void* block : blocks) pool.deallocate(block, bytes, alignment);
}

/// A random number below `bound`.
[[nodiscard]] inline std::size_t below(std::mt19937_64& random, std::size_t bound) {
  return static_cast<std::size_t>(random() % bound);
}

}  // namespace cistern::test_support
