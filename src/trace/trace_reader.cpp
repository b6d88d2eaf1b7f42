#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <algorithm>
#include <array>
#include <utility>

#include "trace_format.hpp"

namespace cistern {

using namespace detail;  // NOLINT(google-build-using-namespace): the format's numbers, in this file only.

trace_reader::trace_reader(trace_source source, std::pmr::memory_resource* memory)
    : source_(std::move(source)),
      frame_(trace_largest_frame_bytes, resource_or_new_delete(memory)),
      live_(resource_or_new_delete(memory)) {
  CISTERN_EXPECTS(source_ != nullptr, "trace_reader needs a source", 0);
  read_header();
}

void trace_reader::fail(trace_fault fault, const char* found, std::uint64_t offset_bytes) {
  failed_ = true;
  fault_ = fault;
  found_ = found;
  fault_offset_bytes_ = offset_bytes;
  throw trace_error(fault, found, offset_bytes);
}

/// Fills `into`, but for a trace that ends before.
std::size_t trace_reader::read(std::span<std::byte> into) {
  std::size_t filled_bytes = 0;
  while (filled_bytes < into.size()) {
    std::size_t got_bytes = 0;
    try {
      got_bytes = source_(into.subspan(filled_bytes));
    } catch (...) {  // Nobody knows how much is lost.
      failed_ = true;
      fault_ = trace_fault::truncated;
      found_ = "the source failed";
      fault_offset_bytes_ = offset_bytes_;
      throw;
    }
    if (got_bytes == 0) break;
    filled_bytes += got_bytes;
    offset_bytes_ += got_bytes;
  }
  return filled_bytes;
}

void trace_reader::read_header() {
  std::array<std::byte, trace_header_bytes> header{};
  const std::size_t got_bytes = read(header);
  if (got_bytes < trace_magic.size() || !std::equal(trace_magic.begin(), trace_magic.end(), header.begin())) {
    fail(trace_fault::not_a_trace, "other first bytes", 0);
  }
  if (got_bytes < header.size()) fail(trace_fault::truncated, "end of the header", got_bytes);
  version_ = get_little_endian<std::uint32_t>(&header[8]);
  if (version_ != trace_version) fail(trace_fault::unknown_version, "a version other than 1", 8);
  if (get_little_endian<std::uint32_t>(&header[20]) != crc32(std::span(header).first(20))) {
    fail(trace_fault::corrupt, "wrong checksum of the header", 20);
  }
  const auto started = get_little_endian<std::uint64_t>(&header[12]);
  if (started > INT64_MAX) fail(trace_fault::corrupt, "a start that no clock has", 12);
  started_ = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(started)));
}

void trace_reader::read_frame() {
  const std::uint64_t start_bytes = offset_bytes_;
  std::array<std::byte, trace_frame_header_bytes> header{};
  if (read(header) < header.size()) {
    fail(trace_fault::truncated, "end of the trace without an end mark", offset_bytes_);
  }
  const auto payload_bytes = get_little_endian<std::uint32_t>(&header[0]);
  const auto events = get_little_endian<std::uint32_t>(&header[4]);
  if (payload_bytes > frame_.size()) fail(trace_fault::corrupt, "a frame too large", start_bytes);
  const std::span<std::byte> payload(frame_.data(), payload_bytes);
  if (read(payload) < payload_bytes) {
    fail(trace_fault::truncated, "end of the trace in a frame", offset_bytes_);
  }
  if (get_little_endian<std::uint32_t>(&header[8]) != crc32(payload, crc32(std::span(header).first(8)))) {
    fail(trace_fault::corrupt, "wrong checksum of a frame", start_bytes);
  }
  frame_bytes_ = payload_bytes;
  frame_events_left_ = events;
  position_ = {};
  if (events == 0) read_end_mark();
}

void trace_reader::read_end_mark() {
  const std::uint64_t payload_start_bytes = offset_bytes_ - frame_bytes_;
  if (frame_bytes_ != sizeof events_ || get_little_endian<std::uint64_t>(frame_.data()) != events_) {
    fail(trace_fault::corrupt, "an end mark with another number of events", payload_start_bytes);
  }
  std::byte more{};
  if (read({&more, 1}) != 0) fail(trace_fault::corrupt, "something behind the end mark", offset_bytes_ - 1);
  ended_ = true;
}

std::byte trace_reader::decode_byte(position& at) {
  if (at.at_bytes == frame_bytes_) fail(trace_fault::corrupt, "an event cut short", offset_bytes_);
  return frame_[at.at_bytes++];
}

std::uint64_t trace_reader::decode_varint(position& at) {
  std::uint64_t number = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<std::uint64_t>(decode_byte(at));
    const std::uint64_t bits = byte & 0x7F;
    if (shift == 63 && bits > 1) break;
    number |= bits << shift;
    if (byte < 0x80) return number;
  }
  fail(trace_fault::corrupt, "a number too large", offset_bytes_ - frame_bytes_ + at.at_bytes - 1);
}

trace_event trace_reader::decode(position& at) {
  const std::uint64_t start_bytes = offset_bytes_ - frame_bytes_ + at.at_bytes;
  const auto first = static_cast<unsigned>(decode_byte(at));
  if ((first & trace_call_mask) > static_cast<unsigned>(trace_call::failed_allocate)) {
    fail(trace_fault::corrupt, "an unknown call", start_bytes);
  }
  trace_event event;
  event.call = static_cast<trace_call>(first & trace_call_mask);

  const std::uint64_t passed = decode_varint(at);
  if (passed > INT64_MAX - at.time || at.time + passed < last_time_) {
    fail(trace_fault::corrupt, "an impossible time", start_bytes);
  }
  at.time += passed;
  event.time = std::chrono::nanoseconds(at.time);

  if ((first & trace_same_thread_bit) == 0) {
    at.thread = decode_varint(at);
  } else if (at.first) {
    fail(trace_fault::corrupt, "the thread of an event that isn't there", start_bytes);
  }
  event.thread = at.thread;

  const unsigned power = first >> trace_alignment_shift;
  event.alignment = power == trace_other_alignment ? decode_varint(at) : std::uint64_t{1} << power;
  event.bytes = decode_varint(at);
  if (event.call != trace_call::failed_allocate) {
    at.address += unzigzag(decode_varint(at));
    event.address = at.address;
  }
  at.first = false;
  return event;
}

/// Gives the event its block. The only part that takes memory; throws before it changes anything.
void trace_reader::number(trace_event& event) {
  if (event.call == trace_call::allocate) {
    // A live block at the address was taken away without being freed, as `release` of a pool does.
    live_.insert_or_assign(event.address, blocks_ + 1);
    event.block = ++blocks_;
  } else if (event.call == trace_call::deallocate) {
    const auto found = live_.find(event.address);
    if (found == live_.end()) return;
    event.block = found->second;
    live_.erase(found);
  }
}

bool trace_reader::next(trace_event& event) {
  if (failed_) throw trace_error(fault_, found_, fault_offset_bytes_);
  while (!ended_ && frame_events_left_ == 0) {
    if (position_.at_bytes != frame_bytes_) {
      fail(trace_fault::corrupt, "more in a frame than its events",
           offset_bytes_ - frame_bytes_ + position_.at_bytes);
    }
    read_frame();
  }
  if (ended_) return false;
  position at = position_;
  trace_event decoded = decode(at);
  number(decoded);
  position_ = at;
  last_time_ = at.time;
  --frame_events_left_;
  ++events_;
  event = decoded;
  return true;
}

}  // namespace cistern
