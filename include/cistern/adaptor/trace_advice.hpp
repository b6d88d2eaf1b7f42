// trace_advice: which pool, with which options, would suit the program that a trace was recorded of.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/detail/base/abi.hpp>
#include <cistern/pool_options.hpp>

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory_resource>
#include <vector>

namespace cistern {

/// What a trace has of one block size of the pools.
struct size_advice {
  std::size_t block_bytes = 0;
  std::uint64_t allocations = 0;
  std::uint64_t reused = 0;      ///< Allocations for which a pool that keeps all would have had a free block.
  std::size_t peak_blocks = 0;   ///< The most that lived at once.
  std::size_t final_blocks = 0;  ///< Live at the end of the trace.

  friend bool operator==(const size_advice&, const size_advice&) = default;
};

/// What a trace says about the pool it needs. Bytes are counted at the pools' block sizes unless they say
/// "requested".
struct trace_advice {
  std::uint64_t allocations = 0;
  std::uint64_t threads = 0;          ///< That made calls.
  std::uint64_t frees_elsewhere = 0;  ///< Deallocations by another thread than the one that allocated.
  std::size_t largest_request_bytes = 0;
  std::size_t largest_alignment = 0;
  std::size_t peak_requested_bytes = 0;  ///< The most that lived at once, as asked for.
  std::size_t peak_bytes = 0;            ///< The same at block sizes: rounding included.
  /// The most that lay idle before it was needed again, in a pool that keeps all: with this much in
  /// `max_idle_bytes`, nothing that is needed again is given back before.
  std::size_t reused_idle_bytes = 0;
  std::uint64_t unpooled = 0;      ///< Requests that no pool serves from a bucket: above 1 GiB, or aligned
                                   ///< above a page.
  std::vector<size_advice> sizes;  ///< Every block size in use, in order.
  bool cut_off = false;            ///< The trace was, and the advice is on what there is of it.

  /// More than one thread calls: `synchronized_pool_resource`. Otherwise `unsynchronized_pool_resource`.
  [[nodiscard]] bool needs_synchronized() const noexcept { return threads > 1; }

  /// The default options with what the trace suggests otherwise: `largest_required_pool_block` where the
  /// default would be too small, and for `max_idle_bytes` the `reused_idle_bytes` and 64 KiB for each block
  /// size, since pools grant idle memory to their buckets in portions of up to so much.
  [[nodiscard]] pool_options options() const noexcept;

  friend bool operator==(const trace_advice&, const trace_advice&) = default;
};

/// Writes the advice for people: the figures, a row for each block size, and the options as C++.
std::ostream& operator<<(std::ostream& out, const trace_advice& advice);

/// How a trace is looked through.
struct trace_advice_options {
  /// One that was cut off as far as it goes: the end of it is then no error, but noted in the advice.
  bool up_to_the_cut = false;
};

/// Looks through what is left of the trace. `memory`, for a table of live blocks: null means new/delete.
/// Throws `trace_error` and `std::bad_alloc`. O(events).
[[nodiscard]] trace_advice advise(trace_reader& trace, std::pmr::memory_resource* memory = nullptr,
                                  const trace_advice_options& options = {});

}  // namespace cistern
