// trace_format: the numbers of the trace format that its writer and its reader share.
#pragma once

#include <cistern/adaptor/trace.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cistern::detail {

inline constexpr std::array<std::byte, 8> trace_magic = {std::byte{'c'}, std::byte{'i'}, std::byte{'s'},
                                                         std::byte{'t'}, std::byte{'r'}, std::byte{'a'},
                                                         std::byte{'c'}, std::byte{'e'}};
inline constexpr std::uint32_t trace_version = 2;  // What is written. Version 1 is read.
inline constexpr std::size_t trace_header_bytes = 40;
inline constexpr std::size_t trace_header_1_bytes = 24;
inline constexpr std::size_t trace_frame_header_bytes = 16;
inline constexpr std::size_t trace_frame_header_1_bytes = 12;
inline constexpr std::size_t trace_largest_frame_bytes = std::size_t{256} << 10;

// Frames that are joined are a round: the reader merges them by time, and holds all of them meanwhile.
inline constexpr std::size_t trace_largest_round_bytes = std::size_t{1} << 20;
inline constexpr std::size_t trace_most_round_frames = 64;

// What a frame holds.
inline constexpr std::uint32_t trace_end_mark_kind = 0;
inline constexpr std::uint32_t trace_events_kind = 1;
inline constexpr std::uint32_t trace_modules_kind = 2;
inline constexpr std::uint32_t trace_stacks_kind = 3;
inline constexpr std::uint32_t trace_events_with_stacks_kind = 4;
/// Set in the kind of a frame that has the next one joined to it.
inline constexpr std::uint32_t trace_joined_bit = 0x100;
inline constexpr std::size_t trace_end_mark_bytes = 16;
inline constexpr std::size_t trace_end_mark_1_bytes = 8;

// What a trace may say of where it was called from: so a reader knows how much memory that takes at most.
inline constexpr std::size_t trace_most_modules = std::size_t{1} << 16;
inline constexpr std::size_t trace_longest_path_bytes = 4096;
inline constexpr std::size_t trace_longest_build_id_bytes = 64;
inline constexpr std::size_t trace_most_module_text_bytes = std::size_t{4} << 20;
inline constexpr std::size_t trace_most_stacks = std::size_t{1} << 17;
inline constexpr std::size_t trace_deepest_stack = 256;
inline constexpr std::size_t trace_most_places = std::size_t{1} << 21;  // In all stacks.

/// What an event says of the program. The first three are those of version 1.
enum class trace_step : std::uint8_t {
  allocate,
  deallocate,
  failed_allocate,
  free,              ///< A deallocation that states neither size nor alignment.
  begin_reallocate,  ///< A block is handed to `realloc`: from now on its address may be another's.
  end_reallocate,    ///< What the thread began last has ended in this block.
  fail_reallocate,   ///< What the thread began last has left the block as it was.
};
inline constexpr unsigned trace_steps = 7;

[[nodiscard]] constexpr bool states_bytes(trace_step step) noexcept {
  return step != trace_step::free && step != trace_step::begin_reallocate;
}
[[nodiscard]] constexpr bool has_address(trace_step step) noexcept {
  return step != trace_step::failed_allocate && step != trace_step::fail_reallocate;
}
/// In frames of events with stacks. A `realloc` has one, at its end.
[[nodiscard]] constexpr bool has_stack(trace_step step) noexcept {
  return step != trace_step::begin_reallocate;
}

/// Which bits of an event's first byte are what: the step, the thread, the alignment's power of two.
struct trace_first_byte {
  unsigned step_mask;
  unsigned same_thread_bit;
  unsigned alignment_shift;
  unsigned other_alignment;  // Instead of a power: the alignment follows.
};
inline constexpr trace_first_byte trace_first_byte_1{3, 4, 3, 31};
inline constexpr trace_first_byte trace_first_byte_2{7, 8, 4, 15};

inline constexpr std::size_t longest_varint_bytes = 10;
/// First byte, time, thread, alignment, size, address, stack.
inline constexpr std::size_t longest_event_bytes = 1 + 6 * longest_varint_bytes;

template <class Number>
void put_little_endian(std::byte* to, Number number) noexcept {
  for (std::size_t i = 0; i < sizeof(Number); ++i) to[i] = static_cast<std::byte>(number >> (8 * i));
}

template <class Number>
[[nodiscard]] Number get_little_endian(const std::byte* from) noexcept {
  Number number = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    number = static_cast<Number>(number | static_cast<Number>(from[i]) << (8 * i));
  }
  return number;
}

/// LEB128: seven bits a byte, lowest first; all bytes but the last have their top bit set.
[[nodiscard]] inline std::byte* put_varint(std::byte* to, std::uint64_t number) noexcept {
  while (number >= 0x80) {
    *to++ = static_cast<std::byte>(number | 0x80);
    number >>= 7;
  }
  *to++ = static_cast<std::byte>(number);
  return to;
}

/// Small distances in either direction become small numbers.
[[nodiscard]] constexpr std::uint64_t zigzag(std::uint64_t difference) noexcept {
  return difference << 1 ^ (std::uint64_t{0} - (difference >> 63));
}
[[nodiscard]] constexpr std::uint64_t unzigzag(std::uint64_t number) noexcept {
  return number >> 1 ^ (std::uint64_t{0} - (number & 1));
}

/// One event as it is encoded.
struct trace_record {
  trace_step step = trace_step::allocate;
  std::uint64_t time = 0;  ///< Nanoseconds since the trace began.
  std::uint64_t thread = 0;
  std::uint64_t bytes = 0;
  std::uint64_t alignment = 1;
  std::uint64_t address = 0;
  std::uint64_t stack = 0;  ///< Its number, from 1; 0: not known.
};

/// Encodes the events of one frame, each relative to the one before it.
class trace_frame_encoder {
 public:
  /// `with_stacks`: the frame is of that kind.
  explicit constexpr trace_frame_encoder(bool with_stacks) noexcept : with_stacks_(with_stacks) {}
  constexpr trace_frame_encoder() noexcept = default;

  /// Writes at most `longest_event_bytes` and returns the end. Precondition: no earlier than the last record.
  [[nodiscard]] std::byte* put(std::byte* to, const trace_record& record) noexcept {
    constexpr trace_first_byte bits = trace_first_byte_2;
    const auto power = static_cast<unsigned>(std::countr_zero(record.alignment));
    const bool short_alignment = std::has_single_bit(record.alignment) && power < bits.other_alignment;
    const bool same_thread = !first_ && record.thread == thread_;
    *to++ =
        static_cast<std::byte>(static_cast<unsigned>(record.step) | (same_thread ? bits.same_thread_bit : 0) |
                               (short_alignment ? power : bits.other_alignment) << bits.alignment_shift);
    to = put_varint(to, record.time - time_);
    if (!same_thread) to = put_varint(to, record.thread);
    if (!short_alignment) to = put_varint(to, record.alignment);
    if (states_bytes(record.step)) to = put_varint(to, record.bytes);
    if (has_address(record.step)) {
      to = put_varint(to, zigzag(record.address - address_));
      address_ = record.address;
    }
    if (with_stacks_ && has_stack(record.step)) to = put_varint(to, record.stack);
    time_ = record.time;
    thread_ = record.thread;
    first_ = false;
    return to;
  }

 private:
  std::uint64_t time_ = 0;
  std::uint64_t thread_ = 0;
  std::uint64_t address_ = 0;
  bool first_ = true;
  bool with_stacks_ = false;
};

/// What a trace's header says.
struct trace_header_fields {
  std::uint64_t started_nanoseconds = 0;  ///< Since 1970.
  std::uint64_t sample_bytes = 0;         ///< Mean distance of the bytes that were sampled; 0: every call.
  std::uint64_t process = 0;              ///< The system's number of it; 0: not said.
};

/// The CRC-32 of zlib, PNG and Ethernet. `before`: that of the bytes which stand before these.
[[nodiscard]] std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

[[nodiscard]] std::array<std::byte, trace_header_bytes> encode_header(
    const trace_header_fields& header) noexcept;

/// Writes the first `trace_frame_header_bytes` of a frame, behind which its payload stands already.
void seal_frame(std::span<std::byte> frame, std::uint32_t kind, std::uint32_t events) noexcept;

/// The end mark of a trace of so many events, as a frame. `error`: the system's number of it, 0 for none.
[[nodiscard]] std::array<std::byte, trace_frame_header_bytes + trace_end_mark_bytes> encode_end_mark(
    std::uint64_t events, trace_ending ending, int error) noexcept;

}  // namespace cistern::detail
