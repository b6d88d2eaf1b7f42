// trace_reader: decodes a trace, call by call, and finds what is wrong with it.
#pragma once

#include <cistern/adaptor/trace.hpp>
#include <cistern/detail/base/abi.hpp>

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
/// Holds one frame (at most 256 KiB) and a number for each live block of the trace, in memory from the
/// resource it is given. Not thread-safe. After `std::bad_alloc` the reader is as it was, and `next` may be
/// called again; after any other exception it throws the same, or a `trace_error`, again.
class trace_reader {
 public:
  /// Reads the header. `memory` null means new/delete. Throws `trace_error`, what `source` throws, and
  /// `std::bad_alloc`.
  explicit trace_reader(trace_source source, std::pmr::memory_resource* memory = nullptr);
  trace_reader(const trace_reader&) = delete;
  trace_reader& operator=(const trace_reader&) = delete;

  /// Makes `event` the next one and returns true; false at the trace's proper end. Throws as the constructor.
  /// A trace that was cut off gives all events of its whole frames before it throws. O(1) on average.
  [[nodiscard]] bool next(trace_event& event);

  /// The format's version, of which there is one.
  [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
  /// The time of day at which the trace began.
  [[nodiscard]] std::chrono::system_clock::time_point started() const noexcept { return started_; }
  /// Events that `next` returned.
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
  /// Blocks allocated and not freed, so far.
  [[nodiscard]] std::size_t live_blocks() const noexcept { return live_.size(); }
  /// Bytes of the trace that were read from the source.
  [[nodiscard]] std::uint64_t offset_bytes() const noexcept { return offset_bytes_; }

 private:
  /// Where decoding stands in a frame, and what the next event is relative to.
  struct position {
    std::size_t at_bytes = 0;
    std::uint64_t time = 0;
    std::uint64_t thread = 0;
    std::uint64_t address = 0;
    bool first = true;
  };

  [[noreturn]] void fail(trace_fault fault, const char* found, std::uint64_t offset_bytes);
  [[nodiscard]] std::size_t read(std::span<std::byte> into);
  void read_header();
  void read_frame();
  void read_end_mark();
  [[nodiscard]] std::uint64_t decode_varint(position& at);
  [[nodiscard]] std::byte decode_byte(position& at);
  [[nodiscard]] trace_event decode(position& at);
  void number(trace_event& event);

  trace_source source_;
  std::uint32_t version_ = 0;
  std::chrono::system_clock::time_point started_;
  std::pmr::vector<std::byte> frame_;  // Room for the largest one.
  std::size_t frame_bytes_ = 0;
  position position_;
  std::uint32_t frame_events_left_ = 0;
  std::uint64_t last_time_ = 0;
  std::uint64_t offset_bytes_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t blocks_ = 0;
  bool ended_ = false;
  bool failed_ = false;
  trace_fault fault_ = trace_fault::corrupt;
  const char* found_ = "";
  std::uint64_t fault_offset_bytes_ = 0;
  std::pmr::unordered_map<std::uint64_t, std::uint64_t> live_;  // Address to number.
};

}  // namespace cistern
