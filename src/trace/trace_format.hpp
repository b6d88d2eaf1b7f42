// trace_format: the numbers of the trace format that its writer and its reader share.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cistern::detail {

inline constexpr std::array<std::byte, 8> trace_magic = {std::byte{'c'}, std::byte{'i'}, std::byte{'s'},
                                                         std::byte{'t'}, std::byte{'r'}, std::byte{'a'},
                                                         std::byte{'c'}, std::byte{'e'}};
inline constexpr std::uint32_t trace_version = 1;
inline constexpr std::size_t trace_header_bytes = 24;
inline constexpr std::size_t trace_frame_header_bytes = 12;
inline constexpr std::size_t trace_largest_frame_bytes = std::size_t{256} << 10;

// The first byte of an event: two bits for the call, one for the thread, five for the alignment.
inline constexpr unsigned trace_call_mask = 3;
inline constexpr unsigned trace_same_thread_bit = 4;
inline constexpr unsigned trace_alignment_shift = 3;
inline constexpr unsigned trace_other_alignment = 31;

inline constexpr std::size_t longest_varint_bytes = 10;
/// First byte, time, thread, alignment, size, address.
inline constexpr std::size_t longest_event_bytes = 1 + 5 * longest_varint_bytes;

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

/// The CRC-32 of zlib, PNG and Ethernet. `before`: that of the bytes which stand before these.
[[nodiscard]] std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

}  // namespace cistern::detail
