#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <algorithm>
#include <array>
#include <utility>

#include "trace_format.hpp"

namespace cistern {

using namespace detail;  // NOLINT(google-build-using-namespace): the format's numbers, in this file only.

/// Where decoding stands in a frame, and what its next event is relative to.
struct trace_reader::frame {
  std::uint32_t kind;
  std::size_t at_bytes;  // In the round's payloads.
  std::size_t end_bytes;
  std::uint64_t offset_bytes;           // Of the same place in the trace.
  std::uint32_t entries_left;           // Events, modules or stacks.
  std::uint64_t next_offset_bytes = 0;  // Of `next`.
  trace_record next{};
  bool decoded = false;  // `next` is the frame's next event; else the one before it.
  bool first = true;

  [[nodiscard]] bool is_table() const noexcept {
    return kind == trace_modules_kind || kind == trace_stacks_kind;
  }
};

trace_reader::trace_reader(trace_source source, std::pmr::memory_resource* memory)
    : source_(std::move(source)),
      payloads_(resource_or_new_delete(memory)),
      frames_(resource_or_new_delete(memory)),
      stacks_(resource_or_new_delete(memory)),
      live_(resource_or_new_delete(memory)),
      begun_(resource_or_new_delete(memory)) {
  CISTERN_EXPECTS(source_ != nullptr, "trace_reader needs a source", 0);
  read_header();
  frames_.reserve(trace_most_round_frames);
}

trace_reader::~trace_reader() = default;

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
  const std::span<std::byte> start = std::span(header).first(trace_header_1_bytes);
  const std::size_t got_bytes = read(start);
  if (got_bytes < trace_magic.size() || !std::equal(trace_magic.begin(), trace_magic.end(), header.begin())) {
    fail(trace_fault::not_a_trace, "other first bytes", 0);
  }
  if (got_bytes < start.size()) fail(trace_fault::truncated, "end of the header", got_bytes);
  version_ = get_little_endian<std::uint32_t>(&header[8]);
  if (version_ != 1 && version_ != 2) {
    fail(trace_fault::unknown_version, "a version other than 1 and 2", 8);
  }
  const std::size_t whole_bytes = version_ == 1 ? trace_header_1_bytes : trace_header_bytes;
  if (read(std::span(header).subspan(start.size(), whole_bytes - start.size())) <
      whole_bytes - start.size()) {
    fail(trace_fault::truncated, "end of the header", offset_bytes_);
  }
  const std::size_t summed_bytes = whole_bytes - 4;
  if (get_little_endian<std::uint32_t>(&header[summed_bytes]) !=
      crc32(std::span(header).first(summed_bytes))) {
    fail(trace_fault::corrupt, "wrong checksum of the header", summed_bytes);
  }
  const auto started = get_little_endian<std::uint64_t>(&header[12]);
  if (started > INT64_MAX) fail(trace_fault::corrupt, "a start that no clock has", 12);
  started_ = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(started)));
  if (version_ == 1) return;
  sample_bytes_ = get_little_endian<std::uint64_t>(&header[20]);
  process_ = get_little_endian<std::uint64_t>(&header[28]);
}

/// The part of a frame before its payload.
std::span<const std::byte> trace_reader::frame_head() const noexcept {
  return std::span(head_).first(version_ == 1 ? trace_frame_header_1_bytes : trace_frame_header_bytes);
}

void trace_reader::read_frame_head() {
  const std::uint64_t start_bytes = offset_bytes_;
  if (read(std::span(head_).first(frame_head().size())) < frame_head().size()) {
    fail(trace_fault::truncated, "end of the trace without an end mark", offset_bytes_);
  }
  const auto bytes = get_little_endian<std::uint32_t>(&head_[0]);
  if (bytes > trace_largest_frame_bytes) fail(trace_fault::corrupt, "a frame too large", start_bytes);
  if (bytes > trace_largest_round_bytes - round_bytes_) {
    fail(trace_fault::corrupt, "a round too large", start_bytes);
  }
  head_is_read_ = true;
}

/// Reads a frame, to where it stands if there is no memory for its payload.
void trace_reader::read_frame() {
  if (!head_is_read_) read_frame_head();
  const auto bytes = get_little_endian<std::uint32_t>(&head_[0]);
  const auto entries = get_little_endian<std::uint32_t>(&head_[4]);
  payloads_.resize(std::max<std::size_t>(payloads_.size(), round_bytes_ + bytes));
  head_is_read_ = false;
  const std::uint64_t payload_start_bytes = offset_bytes_;
  const std::uint64_t start_bytes = payload_start_bytes - frame_head().size();
  const std::span<std::byte> payload = std::span(payloads_).subspan(round_bytes_, bytes);
  if (read(payload) < payload.size()) {
    fail(trace_fault::truncated, "end of the trace in a frame", offset_bytes_);
  }
  const std::size_t summed_bytes = frame_head().size() - 4;
  if (get_little_endian<std::uint32_t>(&head_[summed_bytes]) !=
      crc32(payload, crc32(frame_head().first(summed_bytes)))) {
    fail(trace_fault::corrupt, "wrong checksum of a frame", start_bytes);
  }
  const std::uint32_t kind_1 = entries == 0 ? trace_end_mark_kind : trace_events_kind;
  const std::uint32_t kind = version_ == 1 ? kind_1 : get_little_endian<std::uint32_t>(&head_[8]);
  if ((kind == trace_end_mark_kind) != (entries == 0)) {
    fail(trace_fault::corrupt, "a frame of an unknown kind", start_bytes + 8);
  }
  if (kind != trace_end_mark_kind) return open_frame(kind, entries, bytes, start_bytes);
  if (!frames_.empty()) fail(trace_fault::corrupt, "an end mark joined to what it ends", start_bytes);
  read_end_mark(payload, payload_start_bytes);
}

/// Makes a frame whose payload is there one of those that are decoded.
void trace_reader::open_frame(std::uint32_t kind, std::uint32_t entries, std::size_t bytes,
                              std::uint64_t start_bytes) {
  const bool joined = (kind & trace_joined_bit) != 0;
  frame opened{.kind = kind & ~trace_joined_bit,
               .at_bytes = round_bytes_,
               .end_bytes = round_bytes_ + bytes,
               .offset_bytes = start_bytes + frame_head().size(),
               .entries_left = entries};
  if (opened.kind > trace_events_with_stacks_kind || opened.kind == trace_end_mark_kind ||
      (joined && opened.is_table())) {
    fail(trace_fault::corrupt, "a frame of an unknown kind", start_bytes + 8);
  }
  if (opened.is_table() && !frames_.empty()) {
    fail(trace_fault::corrupt, "a table joined to events", start_bytes);
  }
  if (frames_.size() == trace_most_round_frames) {
    fail(trace_fault::corrupt, "a round of too many frames", start_bytes);
  }
  frames_.push_back(opened);
  round_bytes_ += bytes;
  round_is_open_ = joined;
  has_stacks_ = has_stacks_ || opened.kind == trace_events_with_stacks_kind;
}

void trace_reader::read_end_mark(std::span<const std::byte> payload, std::uint64_t start_bytes) {
  const std::size_t expected_bytes = version_ == 1 ? trace_end_mark_1_bytes : trace_end_mark_bytes;
  if (payload.size() != expected_bytes || get_little_endian<std::uint64_t>(payload.data()) != records_) {
    fail(trace_fault::corrupt, "an end mark with another number of events", start_bytes);
  }
  if (version_ != 1) {
    const auto ending = get_little_endian<std::uint32_t>(&payload[8]);
    if (ending > static_cast<std::uint32_t>(trace_ending::write_error)) {
      fail(trace_fault::corrupt, "an unknown ending", start_bytes + 8);
    }
    ending_ = static_cast<trace_ending>(ending);
    ending_error_ = static_cast<int>(get_little_endian<std::uint32_t>(&payload[12]) & INT32_MAX);
  }
  std::byte more{};
  if (read({&more, 1}) != 0) fail(trace_fault::corrupt, "something behind the end mark", offset_bytes_ - 1);
  ended_ = true;
}

std::byte trace_reader::decode_byte(frame& from) {
  if (from.at_bytes == from.end_bytes) {
    fail(trace_fault::corrupt, from.is_table() ? "an entry cut short" : "an event cut short",
         from.offset_bytes);
  }
  ++from.offset_bytes;
  return payloads_[from.at_bytes++];
}

std::uint64_t trace_reader::decode_varint(frame& from) {
  std::uint64_t number = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<std::uint64_t>(decode_byte(from));
    const std::uint64_t bits = byte & 0x7F;
    if (shift == 63 && bits > 1) break;
    number |= bits << shift;
    if (byte < 0x80) return number;
  }
  fail(trace_fault::corrupt, "a number too large", from.offset_bytes - 1);
}

void trace_reader::read_module(frame& from) {
  const std::uint64_t start_bytes = from.offset_bytes;
  const std::uint64_t load_address = decode_varint(from);
  const std::uint64_t path_bytes = decode_varint(from);
  const std::uint64_t build_id_bytes = decode_varint(from);
  if (path_bytes > trace_longest_path_bytes || build_id_bytes > trace_longest_build_id_bytes) {
    fail(trace_fault::corrupt, "a module with too long a name", start_bytes);
  }
  const std::size_t text_bytes = path_bytes + build_id_bytes;
  if (stacks_.modules() == trace_most_modules ||
      text_bytes > trace_most_module_text_bytes - stacks_.text_bytes()) {
    fail(trace_fault::corrupt, "too many modules", start_bytes);
  }
  if (text_bytes > from.end_bytes - from.at_bytes) {
    fail(trace_fault::corrupt, "an entry cut short", from.offset_bytes);
  }
  stacks_.add_module(std::span(payloads_).subspan(from.at_bytes, text_bytes), path_bytes, load_address);
  from.at_bytes += text_bytes;
  from.offset_bytes += text_bytes;
}

void trace_reader::read_stack(frame& from) {
  const std::uint64_t start_bytes = from.offset_bytes;
  const std::uint64_t depth = decode_varint(from);
  if (depth == 0 || depth > trace_deepest_stack) {
    fail(trace_fault::corrupt, "a stack of an impossible depth", start_bytes);
  }
  if (stacks_.stacks() == trace_most_stacks || depth > trace_most_places - stacks_.places()) {
    fail(trace_fault::corrupt, "too many stacks", start_bytes);
  }
  std::array<trace_place, trace_deepest_stack> places{};
  for (std::size_t i = 0; i < depth; ++i) {
    places[i].module = decode_varint(from);
    places[i].address = decode_varint(from);
    if (places[i].module > stacks_.modules()) {
      fail(trace_fault::corrupt, "a module that isn't there", start_bytes);
    }
  }
  stacks_.add_stack(std::span(places).first(depth));
}

/// Adds what a frame has of modules or stacks. Where there is no memory for one of them, the next call goes
/// on with it.
void trace_reader::read_table() {
  frame& table = frames_.front();
  while (table.entries_left != 0) {
    frame after = table;
    if (table.kind == trace_modules_kind) {
      read_module(after);
    } else {
      read_stack(after);
    }
    --after.entries_left;
    table = after;
  }
  if (table.at_bytes != table.end_bytes) {
    fail(trace_fault::corrupt, "more in a frame than its entries", table.offset_bytes);
  }
  frames_.clear();
}

/// Makes `next` of the frame its next event.
void trace_reader::decode(frame& from) {
  const std::uint64_t start_bytes = from.offset_bytes;
  from.next_offset_bytes = start_bytes;
  const trace_first_byte& bits = version_ == 1 ? trace_first_byte_1 : trace_first_byte_2;
  const unsigned steps = version_ == 1 ? 3 : trace_steps;
  trace_record& next = from.next;
  const auto first = static_cast<unsigned>(decode_byte(from));
  if ((first & bits.step_mask) >= steps) fail(trace_fault::corrupt, "an unknown call", start_bytes);
  next.step = static_cast<trace_step>(first & bits.step_mask);

  const std::uint64_t passed = decode_varint(from);
  if (passed > INT64_MAX - next.time || next.time + passed < last_time_) {
    fail(trace_fault::corrupt, "an impossible time", start_bytes);
  }
  next.time += passed;

  if ((first & bits.same_thread_bit) == 0) {
    next.thread = decode_varint(from);
  } else if (from.first) {
    fail(trace_fault::corrupt, "the thread of an event that isn't there", start_bytes);
  }
  const unsigned power = first >> bits.alignment_shift;
  next.alignment = power == bits.other_alignment ? decode_varint(from) : std::uint64_t{1} << power;
  next.bytes = states_bytes(next.step) ? decode_varint(from) : 0;
  if (has_address(next.step)) next.address += unzigzag(decode_varint(from));
  const bool says_stack = from.kind == trace_events_with_stacks_kind && has_stack(next.step);
  next.stack = says_stack ? decode_varint(from) : 0;
  if (next.stack > stacks_.stacks()) fail(trace_fault::corrupt, "a stack that isn't there", start_bytes);
  from.first = false;
  from.decoded = true;
  --from.entries_left;
}

/// Decodes the next event of each frame that has one left, and drops the others.
void trace_reader::settle() {
  for (std::size_t i = frames_.size(); i-- > 0;) {
    frame& one = frames_[i];
    if (one.decoded) continue;
    if (one.entries_left != 0) {
      decode(one);
      continue;
    }
    if (one.at_bytes != one.end_bytes) {
      fail(trace_fault::corrupt, "more in a frame than its events", one.offset_bytes);
    }
    frames_.erase(frames_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

/// Of the frames of a round, the one whose event comes next. At the same time a block is freed before its
/// address is given out again.
trace_reader::frame& trace_reader::earliest() {
  const auto gives_out = [](trace_step step) {
    return step == trace_step::allocate || step == trace_step::end_reallocate;
  };
  return *std::min_element(frames_.begin(), frames_.end(), [&](const frame& a, const frame& b) {
    if (a.next.time != b.next.time) return a.next.time < b.next.time;
    return !gives_out(a.next.step) && gives_out(b.next.step);
  });
}

void trace_reader::free_block(trace_event& event, bool states_bytes) {
  const auto found = live_.find(event.address);
  if (found == live_.end()) return;
  event.block = found->second.number;
  if (!states_bytes) {
    event.bytes = found->second.bytes;
    event.alignment = found->second.alignment;
  }
  live_.erase(found);
}

void trace_reader::end_reallocation(trace_event& event) {
  // A live block at the address was taken away without being freed, as `release` of a pool does.
  live_.insert_or_assign(event.address, block{blocks_ + 1, event.bytes, event.alignment});
  event.block = ++blocks_;
  event.call = trace_call::reallocate;
  const auto begun = begun_.find(event.thread);
  if (begun == begun_.end()) return;
  event.old_address = begun->second.address;
  event.old_block = begun->second.old.number;
  begun_.erase(begun);
}

void trace_reader::fail_reallocation(trace_event& event) {
  event.call = trace_call::failed_allocate;
  const auto begun = begun_.find(event.thread);
  if (begun == begun_.end()) return;
  if (begun->second.old.number != 0) live_.try_emplace(begun->second.address, begun->second.old);
  begun_.erase(begun);
}

/// Makes an event of what is next, and keeps account of the blocks. False for what is only the first half of
/// an event. The only part that takes memory; throws before it changes anything.
bool trace_reader::deliver(const frame& from, trace_event& event) {
  const trace_record& record = from.next;
  event.time = std::chrono::nanoseconds(record.time);
  event.thread = record.thread;
  event.bytes = record.bytes;
  event.alignment = record.alignment;
  event.stack = record.stack;
  if (has_address(record.step)) event.address = record.address;
  switch (record.step) {
    case trace_step::allocate:
      event.call = trace_call::allocate;
      live_.insert_or_assign(event.address, block{blocks_ + 1, event.bytes, event.alignment});
      event.block = ++blocks_;
      return true;
    case trace_step::deallocate:
    case trace_step::free:
      event.call = trace_call::deallocate;
      free_block(event, states_bytes(record.step));
      return true;
    case trace_step::failed_allocate:
      event.call = trace_call::failed_allocate;
      return true;
    case trace_step::begin_reallocate: {
      const auto found = live_.find(event.address);
      begun_.insert_or_assign(
          event.thread, begun_reallocation{event.address, found == live_.end() ? block{} : found->second});
      if (found != live_.end()) live_.erase(found);
      return false;
    }
    case trace_step::end_reallocate:
      end_reallocation(event);
      return true;
    case trace_step::fail_reallocate:
      fail_reallocation(event);
      return true;
  }
  return false;
}

bool trace_reader::next(trace_event& event) {
  if (failed_) throw trace_error(fault_, found_, fault_offset_bytes_);
  while (!ended_) {
    if (!frames_.empty() && frames_.front().is_table()) read_table();
    if (!round_is_open_) settle();
    if (round_is_open_ || frames_.empty()) {
      if (frames_.empty()) round_bytes_ = 0;
      read_frame();
      continue;
    }
    frame& from = earliest();
    trace_event found;
    const bool whole = deliver(from, found);
    from.decoded = false;
    last_time_ = std::max(last_time_, from.next.time);
    ++records_;
    if (!whole) continue;
    ++events_;
    event_offset_bytes_ = from.next_offset_bytes;
    event = found;
    return true;
  }
  return false;
}

}  // namespace cistern
