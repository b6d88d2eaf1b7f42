#include <cistern/adaptor/trace_writer.hpp>
#include <cistern/detail/base/assert.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "trace_format.hpp"

namespace cistern {

using namespace detail;  // NOLINT(google-build-using-namespace): the format's numbers, in this file only.

trace_writer::trace_writer(trace_sink sink, std::size_t buffer_bytes,
                           std::chrono::system_clock::time_point started)
    : sink_(std::move(sink)),
      buffer_bytes_(std::clamp(buffer_bytes, least_buffer_bytes, most_buffer_bytes)),
      buffer_(std::make_unique<std::byte[]>(buffer_bytes_)),
      used_bytes_(trace_frame_header_bytes),
      started_(started) {
  static_assert(most_buffer_bytes <= trace_largest_frame_bytes);
  static_assert(least_buffer_bytes >= trace_frame_header_bytes + longest_event_bytes);
  CISTERN_EXPECTS(sink_ != nullptr, "trace_writer needs a sink", 0);
}

trace_writer::~trace_writer() = default;

void trace_writer::write_header() {
  std::array<std::byte, trace_header_bytes> header{};
  std::copy(trace_magic.begin(), trace_magic.end(), header.begin());
  put_little_endian(&header[8], trace_version);
  const auto started =
      std::chrono::duration_cast<std::chrono::nanoseconds>(started_.time_since_epoch()).count();
  put_little_endian(&header[12], static_cast<std::uint64_t>(std::max<std::int64_t>(started, 0)));
  put_little_endian(&header[20], crc32(std::span(header).first(20)));
  sink_(header);
  header_written_ = true;
}

/// The gathered bytes as one frame of so many events; an end mark has none.
void trace_writer::write_frame(std::uint32_t events) {
  const std::size_t payload_bytes = used_bytes_ - trace_frame_header_bytes;
  put_little_endian(&buffer_[0], static_cast<std::uint32_t>(payload_bytes));
  put_little_endian(&buffer_[4], events);
  const std::span<const std::byte> payload(&buffer_[trace_frame_header_bytes], payload_bytes);
  put_little_endian(&buffer_[8], crc32(payload, crc32({&buffer_[0], 8})));
  sink_({&buffer_[0], used_bytes_});
  used_bytes_ = trace_frame_header_bytes;
  frame_events_ = 0;
  frame_time_ = 0;
  frame_thread_ = 0;
  frame_address_ = 0;
}

void trace_writer::flush() {
  if (!header_written_) write_header();
  if (frame_events_ != 0) write_frame(frame_events_);
}

void trace_writer::close() {
  if (closed_) return;
  flush();
  put_little_endian(&buffer_[trace_frame_header_bytes], events_);
  used_bytes_ = trace_frame_header_bytes + sizeof events_;
  write_frame(0);
  closed_ = true;
}

void trace_writer::write(const trace_event& event) {
  CISTERN_EXPECTS(!closed_, "trace_writer: the trace is closed", events_);
  if (buffer_bytes_ - used_bytes_ < longest_event_bytes) flush();

  const auto power = static_cast<unsigned>(std::countr_zero(event.alignment));
  const bool short_alignment = std::has_single_bit(event.alignment) && power < trace_other_alignment;
  const bool same_thread = frame_events_ != 0 && event.thread == frame_thread_;
  const auto time =
      std::max(last_time_, static_cast<std::uint64_t>(std::max<std::int64_t>(event.time.count(), 0)));

  std::byte* to = &buffer_[used_bytes_];
  *to++ =
      static_cast<std::byte>(static_cast<unsigned>(event.call) | (same_thread ? trace_same_thread_bit : 0) |
                             (short_alignment ? power : trace_other_alignment) << trace_alignment_shift);
  to = put_varint(to, time - frame_time_);
  if (!same_thread) to = put_varint(to, event.thread);
  if (!short_alignment) to = put_varint(to, event.alignment);
  to = put_varint(to, event.bytes);
  if (event.call != trace_call::failed_allocate) {
    to = put_varint(to, zigzag(event.address - frame_address_));
    frame_address_ = event.address;
  }
  used_bytes_ = static_cast<std::size_t>(to - &buffer_[0]);
  frame_time_ = last_time_ = time;
  frame_thread_ = event.thread;
  ++frame_events_;
  ++events_;
}

}  // namespace cistern
