// pool_options: everything that can be tuned about a pool resource, with units and defaults.
#pragma once

#include <cistern/detail/base/requirements.hpp>
#include <cistern/no_limit.hpp>

#include <cstddef>
#include <memory_resource>

namespace cistern {

/// Tuning of a pool resource. An aggregate, made for designated initialisers:
///
///     cistern::unsynchronized_pool_resource pool({.max_bytes = 64 << 20});
///
/// The first two fields are those of `std::pmr::pool_options`, and as there a value of zero means the
/// default and a value beyond what the implementation supports is lowered to that. `options()` of a pool
/// returns the values in effect. A field that can't be honoured makes the pool's constructor throw
/// `std::invalid_argument`, whose text names the field, the value and the bound.
struct pool_options {
  /// Most blocks in one chunk obtained from upstream. 0: the default (65,536). Values from 2^40 up are
  /// refused, except `no_limit`.
  std::size_t max_blocks_per_chunk = 0;
  /// Largest request, in bytes, that the pool serves from its buckets; larger ones go to upstream one by
  /// one. 0: the default (32 MiB). Values from 2^40 up are refused, except `no_limit`.
  std::size_t largest_required_pool_block = 0;
  /// Hard ceiling on the bytes held from upstream, in use or idle. Not 0.
  std::size_t max_bytes = no_limit;
  /// Bytes that may stay idle in the pool without anyone calling `trim`; what was used longest ago goes
  /// first. Beyond that, memory goes back in steps, as the pool is used. On top come what thread caches hold,
  /// what lies free between live blocks (the system gets whole pages of it, where it can), a least stay of
  /// 64 KiB, or two blocks, for each size, and one piece that would go and come with each use of a block.
  std::size_t max_idle_bytes = std::size_t{64} << 20;
  /// Free blocks that the list of one bucket may keep; more are sorted away, and serve any size. 0: keep
  /// none, and `max_idle_bytes` is 0 as well. Thread caches and scattered blocks come on top, as above.
  std::size_t max_idle_blocks_per_bucket = no_limit;
  /// Bytes that the cache of one thread may grow to (synchronized pools only): it begins small, and grows
  /// where it misses. 0: no thread caches. Lowered to `max_idle_bytes`. Values from 2^40 up are refused.
  std::size_t thread_cache_bytes = std::size_t{8} << 20;
  /// Bytes that the caches of all threads may grow to together (synchronized pools only).
  std::size_t thread_caches_total_bytes = std::size_t{32} << 20;
  /// Overwrite every block with zeros when it is freed (for those who hold secrets). Its first bytes may then
  /// hold the pool's own links; blocks that `release` or the destructor takes away in use are not
  /// overwritten.
  bool zero_on_free = false;
  /// Count hits and returns per bucket. Off: both read 0 in the statistics.
  bool count_operations = true;
  /// Hand every request to upstream one by one: no pooling, the same rules. Also switched on by the
  /// environment variable CISTERN_PASS_THROUGH=1, read once by each pool's constructor.
  bool pass_through = false;
  /// Put one allocation in so many, at random, against a guard page, and close its page when it is freed: a
  /// use after free, an overrun or a wrong free of that block is told with sizes, ages and threads. 0: none,
  /// or as the environment variable CISTERN_SAMPLE_GUARD says, read once by each pool's constructor.
  /// `no_limit`: none, whatever that says. None in pass-through mode and under a memory checker.
  std::size_t sample_guard = 0;

  friend bool operator==(const pool_options&, const pool_options&) = default;

  /// The two fields the standard knows.
  operator std::pmr::pool_options() const noexcept {  // NOLINT(google-explicit-constructor)
    return {max_blocks_per_chunk, largest_required_pool_block};
  }
};

}  // namespace cistern
