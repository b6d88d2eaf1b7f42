// trace_replay: performs the calls of a trace on any memory_resource, and reports how it did.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/detail/base/abi.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory_resource>

namespace cistern {

/// How a trace is replayed.
struct replay_options {
  /// Write a pattern into every block, and look whether it is still there when the block is freed.
  bool check_content = true;
  /// Replay a trace that was cut off as far as it goes: the end of it is then no error, but noted in the
  /// report.
  bool up_to_the_cut = false;
  /// Where the replay keeps its own table; null means new/delete.
  std::pmr::memory_resource* memory = nullptr;
};

/// What a replay did.
struct replay_report {
  std::uint64_t allocations = 0;       ///< Made, and granted.
  std::uint64_t deallocations = 0;     ///< Made, of blocks that the trace frees.
  std::uint64_t refused = 0;           ///< Allocations that the resource refused, though the trace has them.
  std::uint64_t failed_in_trace = 0;   ///< Allocations that had failed when recorded; not tried.
  std::uint64_t foreign_frees = 0;     ///< Frees of blocks from before the trace; left out.
  std::uint64_t mismatched_frees = 0;  ///< Frees with another size or alignment than at the allocation, which
                                       ///< were made with those of the allocation.
  std::uint64_t misaligned = 0;        ///< Blocks that the resource didn't align as asked.
  std::uint64_t damaged = 0;           ///< Blocks whose content changed while they were live.
  std::uint64_t left_live = 0;         ///< Blocks that the trace never frees; freed by the replay at its end.
  std::uint64_t peak_live_bytes = 0;   ///< The most that lived at once, as asked for.
  bool cut_off = false;                ///< The trace was, and is replayed up to there.
  std::chrono::nanoseconds elapsed{};  ///< Of the whole replay, with reading the trace and checking.

  /// Whether the resource did all it was asked, and did it right.
  [[nodiscard]] bool resource_passed() const noexcept {
    return refused == 0 && misaligned == 0 && damaged == 0;
  }
};

/// Writes an aligned table for people.
std::ostream& operator<<(std::ostream& out, const replay_report& report);

/// Performs what is left of the trace on `resource`, in the trace's order, on the calling thread; a
/// reallocation as an allocation, and a deallocation of the old block. Where the
/// resource throws `std::bad_alloc`, the request is counted as refused and its deallocation left out. Blocks
/// live at the end are freed, also when something is thrown: `trace_error`, `std::bad_alloc` for the table,
/// and what the resource throws beside `std::bad_alloc`. `resource` null means new/delete.
[[nodiscard]] replay_report replay(trace_reader& trace, std::pmr::memory_resource* resource,
                                   const replay_options& options = {});

}  // namespace cistern
