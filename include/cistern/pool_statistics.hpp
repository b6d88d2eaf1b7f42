// pool_statistics: what a pool resource holds and has done, for people and for programs.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/sampling_guard_statistics.hpp>

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace cistern {

namespace detail {
class openmetrics_text;
}

/// Traffic of one bucket (all blocks of one size), counted in blocks since the pool was made.
///
/// At any quiet moment `hits + misses` is the number of allocations and `returned + discarded` the number of
/// deallocations of this bucket. `hits` and `returned` read 0 when `pool_options::count_operations` is off.
struct bucket_statistics {
  std::size_t block_bytes = 0;  ///< Size of one block, in bytes.
  std::uint64_t hits = 0;       ///< Allocations served from a free list.
  std::uint64_t misses = 0;     ///< Allocations that took of a span, or memory that nobody has had yet.
  std::uint64_t returned = 0;   ///< Deallocations that kept the block.
  std::uint64_t discarded = 0;  ///< Deallocations that passed the block on to upstream: none, by now.
  std::size_t depth = 0;        ///< Free blocks now, in the pool and in its thread caches.
  std::size_t live_blocks = 0;  ///< Blocks in the hands of users now.

  friend bool operator==(const bucket_statistics&, const bucket_statistics&) = default;
};

/// Requests that no bucket serves: larger than `pool_options::largest_required_pool_block`, aligned above a
/// page, or all of them in pass-through mode. Each is one upstream call.
struct oversize_statistics {
  std::uint64_t allocations = 0;
  std::uint64_t deallocations = 0;
  std::size_t live_blocks = 0;
  std::size_t live_bytes = 0;

  friend bool operator==(const oversize_statistics&, const oversize_statistics&) = default;
};

/// A snapshot of a pool's accounts. Exact at any quiet moment (no other thread inside the pool), where
/// `in_use_bytes + idle_bytes + overhead_bytes == upstream_bytes`, and the five places of what is idle add up
/// to `idle_bytes`. What lies between blocks in use, `idle_in_spans_bytes + idle_in_pages_bytes`, is
/// fragmentation: it serves requests, but can't go back to upstream.
struct pool_statistics {
  std::size_t in_use_bytes = 0;           ///< Blocks in the hands of users, counted at their block size.
  std::size_t idle_bytes = 0;             ///< Memory that needs no upstream to be handed out: the next five.
  std::size_t idle_in_lists_bytes = 0;    ///< Free blocks that are at hand.
  std::size_t idle_in_caches_bytes = 0;   ///< Free blocks in the caches of threads.
  std::size_t idle_in_spans_bytes = 0;    ///< Beside blocks that are out, in memory that serves one size.
  std::size_t idle_in_pages_bytes = 0;    ///< Pages for any size, in regions in which others are in use.
  std::size_t idle_in_regions_bytes = 0;  ///< Regions without a page in use: these can go back to upstream.
  std::size_t idle_untouched_bytes = 0;   ///< Of these two: what takes no memory of the system, if it can.
  std::size_t overhead_bytes = 0;         ///< The pool's own records: of regions, pages, thread caches.
  std::size_t upstream_bytes = 0;         ///< All bytes held from upstream now.
  /// The most `upstream_bytes` ever was; where several threads called upstream at the same time, within what
  /// they asked for and gave back.
  std::size_t peak_upstream_bytes = 0;
  std::uint64_t upstream_allocations = 0;    ///< Successful calls of upstream's `allocate`.
  std::uint64_t upstream_deallocations = 0;  ///< Calls of upstream's `deallocate`.
  std::uint64_t given_back_idle_bytes = 0;   ///< Of regions given back as more was idle than may be, ever.
  std::uint64_t given_back_trim_bytes = 0;   ///< Of those that `trim` gave back, ever.
  std::uint64_t given_back_need_bytes = 0;   ///< Of those given back lest a request be refused, ever.
  std::uint64_t discarded_bytes = 0;  ///< Of free pages whose memory the system got back, within regions.
  std::vector<bucket_statistics> buckets;  ///< Every bucket ever used, in order of block size.
  oversize_statistics oversize;
  /// Blocks of `pool_options::sample_guard`, which lie beside upstream's memory and count nowhere else.
  sampling_guard_statistics guarded{};

  friend bool operator==(const pool_statistics&, const pool_statistics&) = default;
  /// How `to_openmetrics` of several (cistern/named_statistics.hpp) writes these.
  friend void add_openmetrics(detail::openmetrics_text& text, const pool_statistics& statistics,
                              std::string_view pool_name);
};

/// Writes an aligned table for people: totals first, then one row per bucket ever used.
std::ostream& operator<<(std::ostream& out, const pool_statistics& statistics);

/// The same figures as one JSON object; keys are the field names above.
[[nodiscard]] std::string to_json(const pool_statistics& statistics);

/// The same figures as OpenMetrics text (ending in "# EOF"), metric names prefixed `cistern_pool_`, each
/// with a label `pool="<pool_name>"`; `pool_name` is escaped as the format asks, and what is no
/// UTF-8 in it becomes U+FFFD. Several in one text: cistern/named_statistics.hpp.
[[nodiscard]] std::string to_openmetrics(const pool_statistics& statistics, std::string_view pool_name);

}  // namespace cistern
