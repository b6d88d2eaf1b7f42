// trace_breakdown: what a second reading of a trace tells: how memory, calls and lifetimes spread over time,
// sizes, call sites and threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "live_curve.hpp"
#include "trace_survey.hpp"

namespace cistern::tool {

inline constexpr std::size_t curve_bins = 1024;  ///< Of the curves of live bytes.
inline constexpr std::size_t time_spans = 64;    ///< Of time, for each of which stacks have their calls.
inline constexpr std::size_t most_kept_stacks =
    4096;  ///< That have places of their own; one more is for the rest.
inline constexpr std::size_t most_kept_threads = 32;  ///< Likewise.
inline constexpr std::size_t most_top_sites = 9;      ///< Likewise, in the curves.

/// The largest size of each size band but the last, which has no end.
inline constexpr std::array<std::uint64_t, 11> size_band_ends = {16,
                                                                 32,
                                                                 64,
                                                                 128,
                                                                 256,
                                                                 512,
                                                                 1024,
                                                                 4096,
                                                                 std::uint64_t{16} << 10,
                                                                 std::uint64_t{64} << 10,
                                                                 std::uint64_t{256} << 10};

struct block_totals {
  std::uint64_t blocks = 0;
  double bytes = 0;
};

/// What the second reading sorts by. A call site is where the program called, beneath what the languages'
/// libraries do for it.
struct breakdown_plan {
  std::vector<std::uint32_t> site_of_stack;  ///< By the stack's number.
  std::size_t sites = 0;
  std::vector<std::uint32_t> top_sites;     ///< Those with a curve of their own, at most `most_top_sites`.
  std::vector<std::uint64_t> kept_stacks;   ///< Numbers, at most `most_kept_stacks`.
  std::vector<std::uint64_t> kept_threads;  ///< At most `most_kept_threads`.
};

/// The stacks that matter most: by their part of the calls, the bytes or the temporaries, whichever is
/// largest.
[[nodiscard]] std::vector<std::uint64_t> stacks_worth_keeping(const trace_survey& survey);
/// The threads with the most events, in the order of their numbers.
[[nodiscard]] std::vector<std::uint64_t> threads_worth_keeping(const trace_survey& survey);

struct trace_breakdown {
  static constexpr std::size_t powers = 65;  ///< A number belongs to the power of two that is just above it.
  static constexpr std::size_t never = powers;  ///< The lifetime of blocks that were live at the end.

  trace_breakdown(const trace_survey& survey, const breakdown_plan& plan);

  live_curve by_size;  ///< One series for each size band.
  live_curve by_site;  ///< One for each of the top sites, and one for the rest.
  std::uint64_t span_nanoseconds;
  /// For each span the calls from each kept stack, and from the rest behind them, that were made in it.
  std::vector<std::vector<call_totals>> spans;
  std::vector<origin_totals> sites;
  std::array<std::array<block_totals, powers + 1>, powers> size_and_life;  ///< By size, then by lifetime.
  /// Blocks allocated by one kept thread (or the rest) and freed by the other.
  std::vector<std::vector<block_totals>> handed_over;
};

/// Reads the trace again from its beginning. Throws as `survey`. Its memory is bounded by the constants
/// above, and by the live blocks, stacks and threads of the trace.
[[nodiscard]] trace_breakdown break_down(trace_reader& trace, const trace_survey& survey,
                                         const breakdown_plan& plan);

}  // namespace cistern::tool
