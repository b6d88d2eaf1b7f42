// trace_writer: encodes recorded calls into the bytes of a trace (docs/trace-format.md has the format).
#pragma once

#include <cistern/adaptor/trace.hpp>
#include <cistern/detail/base/abi.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace cistern {
namespace detail {
class trace_frame_encoder;
struct trace_record;
}  // namespace detail

/// Gathers encoded events and hands them to a sink, a frame of at most `buffer_bytes` at a time. The buffer
/// comes from new/delete, so that a recording doesn't take part in what it records.
///
/// Not thread-safe. `write` is O(1), but when a frame is full: then the sink is called.
class trace_writer {
 public:
  static constexpr std::size_t least_buffer_bytes = 256;
  static constexpr std::size_t most_buffer_bytes = std::size_t{256} << 10;

  /// Nothing is written yet. `buffer_bytes` is put between the bounds above. `started`: the time of day at
  /// which the trace begins. Precondition: `sink` is not empty.
  explicit trace_writer(trace_sink sink, std::size_t buffer_bytes = std::size_t{64} << 10,
                        std::chrono::system_clock::time_point started = std::chrono::system_clock::now());
  /// Doesn't close the trace.
  ~trace_writer();
  trace_writer(const trace_writer&) = delete;
  trace_writer& operator=(const trace_writer&) = delete;

  /// Adds an event. One that is earlier than the last is given the time of the last. Passes on what the sink
  /// throws; the event isn't part of the trace then, and events from before may be lost as well: the trace
  /// can't go on. Precondition: not closed.
  void write(const trace_event& event);
  /// Hands to the sink what is gathered; at the start, at least the trace's header. Throws as `write`.
  void flush();
  /// Flushes and writes the end mark, without which the trace counts as truncated. The file of
  /// `trace_to_file` is closed then, so that what only that can tell is thrown as well. Throws as `write`. No
  /// effect when closed.
  void close();

  /// Events written, with those that are still gathered here.
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
  /// Of these, those that are still gathered here: after an error they never get to the sink.
  [[nodiscard]] std::uint64_t gathered_events() const noexcept { return frame_events_; }

 private:
  void write_header();
  void write_frame();
  void put(const detail::trace_record& record);

  trace_sink sink_;
  std::size_t buffer_bytes_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t used_bytes_;
  std::chrono::system_clock::time_point started_;
  std::uint64_t events_ = 0;
  std::uint64_t records_ = 0;  // As the end mark counts them: a reallocation is two.
  std::uint32_t frame_records_ = 0;
  std::uint32_t frame_events_ = 0;
  bool header_written_ = false;
  bool closed_ = false;
  std::uint64_t last_time_ = 0;  // In nanoseconds.
  std::unique_ptr<detail::trace_frame_encoder> encoder_;
};

}  // namespace cistern
