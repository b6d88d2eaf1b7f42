#include <cistern/adaptor/trace_writer.hpp>
#include <cistern/detail/base/assert.hpp>

#include <algorithm>
#include <utility>

#include "trace_file.hpp"
#include "trace_format.hpp"

namespace cistern {

using namespace detail;  // NOLINT(google-build-using-namespace): the format's numbers, in this file only.

trace_writer::trace_writer(trace_sink sink, std::size_t buffer_bytes,
                           std::chrono::system_clock::time_point started)
    : sink_(std::move(sink)),
      buffer_bytes_(std::clamp(buffer_bytes, least_buffer_bytes, most_buffer_bytes)),
      buffer_(std::make_unique<std::byte[]>(buffer_bytes_)),
      used_bytes_(trace_frame_header_bytes),
      started_(started),
      encoder_(std::make_unique<trace_frame_encoder>()) {
  static_assert(most_buffer_bytes <= trace_largest_frame_bytes);
  static_assert(least_buffer_bytes >= trace_frame_header_bytes + 2 * longest_event_bytes);
  CISTERN_EXPECTS(sink_ != nullptr, "trace_writer needs a sink", 0);
}

trace_writer::~trace_writer() = default;

void trace_writer::write_header() {
  const auto started =
      std::chrono::duration_cast<std::chrono::nanoseconds>(started_.time_since_epoch()).count();
  sink_(
      encode_header({.started_nanoseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(started, 0))}));
  header_written_ = true;
}

/// The gathered bytes as one frame.
void trace_writer::write_frame() {
  const std::span<std::byte> frame(&buffer_[0], used_bytes_);
  seal_frame(frame, trace_events_kind, frame_records_);
  sink_(frame);
  used_bytes_ = trace_frame_header_bytes;
  frame_records_ = 0;
  frame_events_ = 0;
  *encoder_ = {};
}

void trace_writer::flush() {
  if (!header_written_) write_header();
  if (frame_records_ != 0) write_frame();
}

void trace_writer::close() {
  if (closed_) return;
  flush();
  sink_(encode_end_mark(records_, trace_ending::closed, 0));
  closed_ = true;
  if (const file_sink* const to = sink_.target<file_sink>()) to->file->close();
}

void trace_writer::put(const trace_record& record) {
  std::byte* const end = encoder_->put(&buffer_[used_bytes_], record);
  used_bytes_ = static_cast<std::size_t>(end - &buffer_[0]);
  ++frame_records_;
  ++records_;
}

void trace_writer::write(const trace_event& event) {
  CISTERN_EXPECTS(!closed_, "trace_writer: the trace is closed", events_);
  if (buffer_bytes_ - used_bytes_ < 2 * longest_event_bytes) flush();
  last_time_ =
      std::max(last_time_, static_cast<std::uint64_t>(std::max<std::int64_t>(event.time.count(), 0)));
  trace_record record{.time = last_time_,
                      .thread = event.thread,
                      .bytes = event.bytes,
                      .alignment = event.alignment,
                      .address = event.address};
  switch (event.call) {
    case trace_call::allocate:
      record.step = trace_step::allocate;
      break;
    case trace_call::deallocate:
      record.step = trace_step::deallocate;
      break;
    case trace_call::failed_allocate:
      record.step = trace_step::failed_allocate;
      break;
    case trace_call::reallocate:
      put({.step = trace_step::begin_reallocate,
           .time = last_time_,
           .thread = event.thread,
           .address = event.old_address});
      record.step = trace_step::end_reallocate;
      break;
  }
  put(record);
  ++events_;
  ++frame_events_;
}

}  // namespace cistern
