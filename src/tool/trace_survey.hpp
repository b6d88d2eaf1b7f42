// trace_survey: what a first reading of a trace tells: totals, and what each stack and thread made of them.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace cistern::tool {

/// Allocations and reallocations, and the blocks that they began. Bytes are `double`, as a trace may state
/// any.
struct call_totals {
  std::uint64_t calls = 0;
  double bytes = 0;
  std::uint64_t temporaries = 0;  ///< Freed before the next allocation of their thread.
};

/// What a stack or a call site has made, and what of it is live.
struct origin_totals {
  call_totals made;
  double live_bytes = 0;
  double peak_bytes = 0;

  void begin(double bytes) {
    ++made.calls;
    made.bytes += bytes;
    live_bytes += bytes;
    peak_bytes = std::max(peak_bytes, live_bytes);
  }
  void end(double bytes, bool is_temporary) {
    live_bytes = std::max(0.0, live_bytes - bytes);
    made.temporaries += is_temporary ? 1U : 0U;
  }
};

struct trace_survey {
  std::uint64_t end_nanoseconds = 0;  ///< Of the last event.
  std::uint64_t allocations = 0;
  std::uint64_t reallocations = 0;
  std::uint64_t deallocations = 0;
  std::uint64_t failures = 0;
  origin_totals all;                   ///< `live_bytes`: at the end.
  std::uint64_t peak_nanoseconds = 0;  ///< When the most was live.
  std::uint64_t left_blocks = 0;       ///< Live at the end.
  bool is_cut_off = false;
  std::vector<origin_totals> stacks;                         ///< By number; 0 stands for unknown ones.
  std::unordered_map<std::uint64_t, std::uint64_t> threads;  ///< Events of each.
};

/// Reads the trace to its end, or to where it was cut off. Throws `trace_error` for any other fault.
[[nodiscard]] trace_survey survey(trace_reader& trace);

/// Calls `see(const trace_event&)` for all events; false if the trace was cut off behind them.
template <typename See>
[[nodiscard]] bool for_each_event(trace_reader& trace, See see) {
  try {
    for (trace_event event; trace.next(event);) see(event);
  } catch (const trace_error& error) {
    if (error.fault() != trace_fault::truncated) throw;
    return false;
  }
  return true;
}

}  // namespace cistern::tool
