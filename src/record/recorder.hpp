// recorder: gathers what the threads of a process do, and writes it to a trace in an order that could have
// happened.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "../trace/trace_format.hpp"
#include "call_sites.hpp"
#include "record_file.hpp"
#include "yielding_lock.hpp"

namespace cistern::detail {

/// How a process is recorded.
struct recorder_options {
  std::uint64_t max_bytes = 0;     ///< Of the trace; 0: no limit.
  std::uint64_t sample_bytes = 0;  ///< In its header.
  bool with_stacks = false;        ///< Calls say from where they came. `sites` has begun.
};

/// Threads write into *stripes*: buffers with a lock each, of which a thread uses one for all its life.
/// Threads that don't share one never wait for each other. When a stripe is full, the locks of all are taken,
/// and what all hold is written as one round: so a trace has all that happened up to some time, and nothing
/// of later. Where a trace may grow to a limit, stripes count as full earlier towards its end: a round that
/// doesn't fit is lost, so all of them together fit into the room that is left.
///
/// Each event gets its time under its stripe's lock. The clock is the same for all threads, so of two events
/// of which one led to the other, the time says which came first.
///
/// Allocates nothing, and is there before any constructor runs. What can't be written ends the recording, not
/// the program.
class recorder {
 public:
  constexpr recorder() noexcept = default;

  /// Begins to record into `descriptor`, a new file. False if that can't be written (errno says why).
  [[nodiscard]] bool begin(int descriptor, const recorder_options& options) noexcept;

  /// Whether calls are to be recorded.
  [[nodiscard]] bool is_recording() const noexcept { return recording_.load(std::memory_order_acquire); }

  /// The process's stacks.
  [[nodiscard]] call_sites& sites() noexcept { return sites_; }

  /// The time of the record is set here. Its stack is a number of `sites`.
  void write(unsigned stripe, trace_record record) noexcept;

  /// Writes out what is held, and marks the end: to be called before the process may go. If it goes on, so
  /// does the recording.
  void mark_end() noexcept;

  /// Around a fork: nobody is in the midst of anything when the child comes to be.
  void lock_all() noexcept;
  void unlock_all() noexcept;
  /// In the child, before `unlock_all`: the file is the parent's.
  void forget() noexcept;

  static constexpr unsigned stripes = 16;

 private:
  static constexpr std::size_t buffer_bytes = std::size_t{32} << 10;

  struct alignas(64) stripe {
    yielding_lock lock;
    trace_frame_encoder encoder CISTERN_GUARDED_BY(lock);
    std::uint64_t last_time CISTERN_GUARDED_BY(lock) = 0;
    std::size_t used_bytes CISTERN_GUARDED_BY(lock) = trace_frame_header_bytes;
    std::uint32_t records CISTERN_GUARDED_BY(lock) = 0;
    std::array<std::byte, buffer_bytes> buffer CISTERN_GUARDED_BY(lock){};
  };

  [[nodiscard]] bool is_full(const stripe& one) const noexcept CISTERN_REQUIRES(one.lock);
  void make_room(stripe& full) noexcept;
  void fit_stripes() noexcept;
  [[nodiscard]] bool write_tables() noexcept;
  void write_round() noexcept;
  void empty_stripes(std::uint64_t last_time) noexcept;
  [[nodiscard]] std::uint64_t now() const noexcept;

  std::atomic<bool> recording_{false};
  std::int64_t process_ = 0;
  std::uint64_t started_ = 0;  // By the steady clock, in nanoseconds.
  bool with_stacks_ = false;
  std::size_t stripe_bytes_ = buffer_bytes;  // What of a buffer is used. Changes with all locks held.
  yielding_lock file_lock_;  // Before those of the stripes, and these before that of the sites.
  record_file file_;         // With all locks held.
  call_sites sites_;
  std::array<std::byte, buffer_bytes> table_frame_{};  // With all locks held.
  std::array<stripe, stripes> stripes_{};
};

static_assert(recorder::stripes <= trace_most_round_frames);

}  // namespace cistern::detail
