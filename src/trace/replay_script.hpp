// replay_script: a trace boiled down to steps that a replay performs without looking anything up.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory_resource>
#include <optional>
#include <vector>

namespace cistern::detail {

enum class replay_step_kind : std::uint8_t {
  allocate,
  deallocate,
  hand_over,  ///< An allocation whose block another thread frees.
  take_over,  ///< That free: it waits until the block is there.
  pace,       ///< No call: waits for threads that are far behind. `bytes` is the stage that begins.
  sample,     ///< No call: whoever wants to look does so now. `slot` is the number of the sample.
};

/// What one thread does next.
struct replay_step {
  std::uint64_t bytes : 47;
  std::uint64_t is_chosen : 1;  ///< The block's.
  std::uint8_t alignment_power;
  replay_step_kind kind;
  std::uint32_t slot;    ///< Where the block's address is kept.
  std::uint32_t thread;  ///< By number of its first call in the trace.
};
static_assert(sizeof(replay_step) == 16);

/// Where in a trace one may look at what a replay has led to.
struct replay_sample {
  std::uint64_t calls = 0;          ///< Made up to here.
  std::chrono::nanoseconds time{};  ///< When the last of them was recorded.
  std::uint64_t asked_bytes = 0;    ///< Live in the trace.
};

/// What becomes of a block of the trace.
enum class block_use : std::uint8_t {
  kept,
  chosen,    ///< Kept, and marked: the player can serve it from another resource.
  left_out,  ///< As if the program had not needed it.
};

/// How a trace becomes a script.
struct replay_script_options {
  bool one_thread = false;  ///< All calls on one thread, in the order of the trace.
  std::size_t samples = 0;  ///< At most so many; 0: none. One of them is where most is live, one at the end.
  bool leave_live = false;  ///< What the trace leaves live isn't freed at the end: to be played once.
  /// Asked for each allocation and each new block of a reallocation; null: all are kept.
  std::function<block_use(const trace_event&)> use_of{};
  /// For the script, its making, and who plays it; null means new/delete. What a large script frees there
  /// changes what malloc does afterwards.
  std::pmr::memory_resource* memory = nullptr;
};

/// Blocks have slots instead of addresses. A slot serves blocks that one thread allocates and frees, one
/// after the other; a block that another thread frees has one for itself. Slots that different threads
/// write don't share a cache line, if the first one begins a line.
///
/// A lane is what one thread of the replay does: the calls of a recorded thread, followed by those of threads
/// that began after it had made its last. Each lane is in the order of the trace, a take_over waits for its
/// hand_over only, and a stage for earlier ones: so whatever comes first in the trace of what isn't done yet
/// can be done, and no replay hangs.
struct replay_script {
  std::pmr::vector<std::pmr::vector<replay_step>> lanes;
  std::pmr::vector<replay_sample> samples;
  std::size_t slots = 0;
  std::uint64_t allocations = 0;       ///< What the trace leaves live is freed at the end, by the thread that
                                       ///< allocated it, unless it is to be left.
  std::uint64_t recorded_threads = 0;  ///< That made calls.
  std::uint64_t handed_over = 0;       ///< Blocks that another thread frees; 0 on one thread.
  std::uint64_t left_live = 0;         ///< Blocks that the trace doesn't free.
  std::uint64_t never_freed = 0;       ///< Of these, what the script doesn't free either.
  std::uint64_t chosen = 0;            ///< Blocks that are.
  std::uint64_t left_out = 0;          ///< Blocks of the trace that aren't in the script.
  std::uint64_t failed_in_trace = 0;   ///< Allocations that failed when recorded: left out.
  std::uint64_t foreign_frees = 0;     ///< Frees of blocks from before the trace: left out.
  std::uint64_t requested_bytes = 0;   ///< Of all blocks together.
  std::uint64_t peak_bytes = 0;        ///< The most that is live at once, as asked for.
  std::uint64_t peak_first_page_bytes = 0;  ///< The same, of each block no more than a page.
  std::uint64_t stage_calls =
      0;  ///< No thread is more than two stages of so many calls ahead; 0 on one thread.
  std::optional<trace_error> cut{};  ///< Where a trace was cut off: the script goes up to there.

  /// Allocations and frees.
  [[nodiscard]] std::uint64_t calls() const noexcept { return 2 * allocations - never_freed; }
};

inline constexpr std::size_t replay_slots_in_line = 8;

/// Makes a script of what is left of the trace; a reallocation becomes an allocation of the new block and a
/// free of the old one, an alignment that is no power of two 1. Throws `trace_error`, also for blocks that no
/// address space holds, `std::bad_alloc`, and `std::length_error` for more than 2^32 slots. A trace that was
/// cut off is taken as far as it goes, unless there is nothing in it. Takes 16 bytes a call (32 for several
/// threads) and a few words for each live block. O(calls).
[[nodiscard]] replay_script make_replay_script(trace_reader& trace,
                                               const replay_script_options& options = {});

}  // namespace cistern::detail
