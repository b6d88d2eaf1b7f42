// trace_reader: decodes a trace, call by call, and finds what is wrong with it.
#pragma once

#include <cistern/adaptor/trace.hpp>
#include <cistern/adaptor/trace_stacks.hpp>
#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <span>
#include <unordered_map>
#include <vector>

namespace cistern {

/// Reads a trace from its beginning, in order. Whatever the bytes are, it either returns events or throws
/// `trace_error`: every frame has a checksum, every value is checked, and the end mark must be there.
///
/// Holds what was recorded at a time (at most 1 MiB), a few words for each live block of the trace, and its
/// stacks (at most 100 MiB), in memory from the resource it is given. Not thread-safe. After `std::bad_alloc`
/// the reader is as it was, and `next` may be called again; after any other exception it throws the same, or
/// a `trace_error`, again.
class trace_reader {
 public:
  /// Reads the header. `memory` null means new/delete. Throws `trace_error`, what `source` throws, and
  /// `std::bad_alloc`.
  explicit trace_reader(trace_source source,
                        std::pmr::memory_resource* memory CISTERN_LIFETIMEBOUND = nullptr);
  trace_reader(const trace_reader&) = delete;
  trace_reader& operator=(const trace_reader&) = delete;
  ~trace_reader();

  /// Makes `event` the next one and returns true; false at the trace's proper end. Throws as the constructor.
  /// A trace that was cut off gives all events of its whole frames before it throws. O(1) on average.
  [[nodiscard]] bool next(trace_event& event);

  /// The format's version: 1 or 2.
  [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
  /// The time of day at which the trace began.
  [[nodiscard]] std::chrono::system_clock::time_point started() const noexcept { return started_; }
  /// Every so many bytes that were allocated one call is in the trace, on average, with the calls that it
  /// led to; 0: all calls are.
  [[nodiscard]] std::uint64_t sample_bytes() const noexcept { return sample_bytes_; }
  /// The system's number of the process that was recorded; 0 where the trace doesn't say.
  [[nodiscard]] std::uint64_t process() const noexcept { return process_; }
  /// Whether what was read so far says from where calls were made.
  [[nodiscard]] bool has_stacks() const noexcept { return has_stacks_; }
  /// The stacks that events returned so far refer to.
  [[nodiscard]] const trace_stacks& stacks() const noexcept CISTERN_LIFETIMEBOUND { return stacks_; }
  /// Why the trace ended, once `next` has returned false.
  [[nodiscard]] trace_ending ending() const noexcept { return ending_; }
  /// The system's number of the error for which it ended; 0 if none.
  [[nodiscard]] int ending_error() const noexcept { return ending_error_; }
  /// Events that `next` returned.
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
  /// Where the event that `next` returned last stands in the trace, in bytes from its start.
  [[nodiscard]] std::uint64_t event_offset_bytes() const noexcept { return event_offset_bytes_; }
  /// Blocks allocated and not freed, so far.
  [[nodiscard]] std::size_t live_blocks() const noexcept { return live_.size(); }
  /// Bytes of the trace that were read from the source.
  [[nodiscard]] std::uint64_t offset_bytes() const noexcept { return offset_bytes_; }

 private:
  struct frame;
  struct block {
    std::uint64_t number = 0;
    std::uint64_t bytes = 0;
    std::uint64_t alignment = 1;
  };
  /// A block that a thread has handed to `realloc`. Its number is 0 where the trace doesn't know it.
  struct begun_reallocation {
    std::uint64_t address;
    block old;
  };

  [[noreturn]] void fail(trace_fault fault, const char* found, std::uint64_t offset_bytes);
  [[nodiscard]] std::size_t read(std::span<std::byte> into);
  void read_header();
  [[nodiscard]] std::span<const std::byte> frame_head() const noexcept;
  void read_frame_head();
  void read_frame();
  void open_frame(std::uint32_t kind, std::uint32_t entries, std::size_t bytes, std::uint64_t start_bytes);
  void read_end_mark(std::span<const std::byte> payload, std::uint64_t start_bytes);
  void read_table();
  void read_module(frame& from);
  void read_stack(frame& from);
  [[nodiscard]] std::byte decode_byte(frame& from);
  [[nodiscard]] std::uint64_t decode_varint(frame& from);
  void decode(frame& from);
  void settle();
  [[nodiscard]] frame& earliest();
  [[nodiscard]] bool deliver(const frame& from, trace_event& event);
  void free_block(trace_event& event, bool states_bytes);
  void end_reallocation(trace_event& event);
  void fail_reallocation(trace_event& event);

  trace_source source_;
  std::uint32_t version_ = 0;
  std::chrono::system_clock::time_point started_;
  std::uint64_t sample_bytes_ = 0;
  std::uint64_t process_ = 0;
  trace_ending ending_ = trace_ending::closed;
  int ending_error_ = 0;
  std::array<std::byte, 16> head_{};  // Of a frame, up to its payload.
  bool head_is_read_ = false;         // And the payload isn't.
  bool round_is_open_ = false;        // The next frame is joined to what was read last.
  bool has_stacks_ = false;
  std::size_t round_bytes_ = 0;
  std::pmr::vector<std::byte> payloads_;  // Of a round, one behind the other.
  std::pmr::vector<frame> frames_;        // Those of a round that have entries left; room for the most.
  trace_stacks stacks_;
  std::uint64_t last_time_ = 0;
  std::uint64_t offset_bytes_ = 0;
  std::uint64_t event_offset_bytes_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t records_ = 0;  // As the end mark counts them.
  std::uint64_t blocks_ = 0;
  bool ended_ = false;
  bool failed_ = false;
  trace_fault fault_ = trace_fault::corrupt;
  const char* found_ = "";
  std::uint64_t fault_offset_bytes_ = 0;
  std::pmr::unordered_map<std::uint64_t, block> live_;                // By address.
  std::pmr::unordered_map<std::uint64_t, begun_reallocation> begun_;  // By thread.
};

}  // namespace cistern
