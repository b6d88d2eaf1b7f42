// Size classes: which block size serves a request of so many bytes.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Block sizes go up by 8 bytes from 16 to 64, then by four steps per doubling, to 1 GiB:
///
///     16 24 32 40 48 56 64 | 80 96 112 128 | 160 192 224 256 | 320 ...
///
/// All look-ups take the *last byte* of a request, `bytes - 1`, for two reasons: zero bytes become a huge
/// value that no class serves, so that one comparison refuses both ends; and rounding a size up to a power of
/// two `alignment` is `last_byte(bytes) | (alignment - 1)`.
///
/// A size that is a multiple of a power of two falls into a class that is a multiple of the same power, so a
/// chunk with an aligned base makes every block of it as aligned as its size is.
inline constexpr std::size_t smallest_block_bytes = 16;
inline constexpr std::size_t fine_step_bytes = 8;
inline constexpr std::size_t fine_limit_bytes = 64;  ///< Up to here, fine steps.
inline constexpr std::size_t largest_block_bytes = std::size_t{1} << 30;
/// Where options say nothing.
inline constexpr std::size_t default_largest_block_bytes = std::size_t{32} << 20;
inline constexpr unsigned fine_classes = (fine_limit_bytes - smallest_block_bytes) / fine_step_bytes + 1;
inline constexpr auto fine_limit_width = static_cast<unsigned>(std::bit_width(fine_limit_bytes));

static_assert(smallest_block_bytes % fine_step_bytes == 0 && smallest_block_bytes <= fine_limit_bytes,
              "the fine steps lead from the smallest block to the limit");
static_assert(smallest_block_bytes >= 2 * sizeof(void*), "a free block has room for two links");
static_assert(std::has_single_bit(fine_limit_bytes) && std::has_single_bit(largest_block_bytes),
              "four steps per doubling begin and end at a power of two");
static_assert(fine_limit_bytes / 4 >= fine_step_bytes, "above the limit steps don't get finer again");
static_assert(fine_limit_bytes < largest_block_bytes);

/// The last byte of a request after rounding its size up to its alignment; `SIZE_MAX` for zero bytes.
[[nodiscard]] constexpr std::size_t last_byte(std::size_t bytes, std::size_t alignment) noexcept {
  return (bytes - 1) | (alignment - 1);
}

/// The class of a request by arithmetic; `last` below `largest_block_bytes`.
[[nodiscard]] constexpr unsigned computed_class_of(std::size_t last) noexcept {
  if (last < fine_limit_bytes) {
    return last < smallest_block_bytes
               ? 0U
               : static_cast<unsigned>((last - smallest_block_bytes) / fine_step_bytes + 1);
  }
  const auto width = static_cast<unsigned>(std::bit_width(last));
  const auto quarter = static_cast<unsigned>(last >> (width - 3)) & 3U;
  return fine_classes + (width - fine_limit_width) * 4 + quarter;
}

inline constexpr unsigned class_count = computed_class_of(largest_block_bytes - 1) + 1;

/// The block size of a class above the fine ones, in bytes.
[[nodiscard]] constexpr std::size_t coarse_class_block_bytes(unsigned index) noexcept {
  const unsigned step = index - fine_classes;
  return std::size_t{5 + step % 4} << (step / 4 + fine_limit_width - 3);
}

/// The block size of a class, in bytes.
[[nodiscard]] constexpr std::size_t class_block_bytes(unsigned index) noexcept {
  return index < fine_classes ? smallest_block_bytes + index * fine_step_bytes
                              : coarse_class_block_bytes(index);
}

static_assert(
    [] {
      for (unsigned index = 0; index < class_count; ++index) {
        const std::size_t last = class_block_bytes(index) - 1;
        if (computed_class_of(last) != index || computed_class_of(last + 1) != index + 1) {
          return false;
        }
      }
      return class_block_bytes(class_count - 1) == largest_block_bytes;
    }(),
    "every class serves exactly the sizes above the one before, up to its own");
static_assert(class_count <= 256, "a table holds classes as bytes");

/// Two tables, of 256 and 128 bytes, answer for requests up to 1 KiB (an entry per 8 bytes) and up to 32 KiB
/// (an entry per 256): arithmetic takes twice the time of a whole allocation where counting leading zeros is
/// slow.
inline constexpr std::size_t small_limit_bytes = 1024;
inline constexpr std::size_t medium_limit_bytes = 32768;
inline constexpr std::size_t medium_step_bytes = 256;

static_assert(small_limit_bytes >= fine_limit_bytes && small_limit_bytes / 4 >= medium_step_bytes,
              "no class ends within an entry of the second table");

template <class Entry, std::size_t Limit, std::size_t Step, unsigned Scale>
inline constexpr auto class_table = [] {
  std::array<Entry, Limit / Step> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<Entry>(computed_class_of((i + 1) * Step - 1) * Scale);
  }
  return table;
}();

/// Where the entry of a class begins in a table whose entries have 32 bytes: what the fast paths look up, as
/// that spares them a multiplication.
enum class class_place : std::size_t {};
inline constexpr unsigned class_place_scale = 32;
[[nodiscard]] constexpr class_place place_of(unsigned index) noexcept {
  return class_place{std::size_t{index} * class_place_scale};
}
/// Back to the class.
[[nodiscard]] constexpr unsigned class_at(class_place place) noexcept {
  return static_cast<unsigned>(static_cast<std::size_t>(place) / class_place_scale);
}

/// The place of the class of a request with `last` below `small_limit_bytes`.
[[nodiscard]] constexpr class_place small_place_of(std::size_t last) noexcept {
  return class_place{class_table<std::uint16_t, small_limit_bytes, fine_step_bytes,
                                 class_place_scale>[last / fine_step_bytes]};
}
/// The class of such a request.
[[nodiscard]] constexpr unsigned small_class_of(std::size_t last) noexcept {
  return class_at(small_place_of(last));
}

inline constexpr unsigned small_class_count = computed_class_of(small_limit_bytes - 1) + 1;

/// The class of a request with `last` from `small_limit_bytes` to below `medium_limit_bytes`.
[[nodiscard]] constexpr unsigned medium_class_of(std::size_t last) noexcept {
  return class_table<std::uint8_t, medium_limit_bytes, medium_step_bytes, 1>[last / medium_step_bytes];
}

/// The class of a request with `last` from `small_limit_bytes` to below `largest_block_bytes`.
[[nodiscard]] constexpr unsigned large_class_of(std::size_t last) noexcept {
  return last < medium_limit_bytes ? medium_class_of(last) : computed_class_of(last);
}

/// The class of a request with `last` below `largest_block_bytes`.
[[nodiscard]] constexpr unsigned class_of(std::size_t last) noexcept {
  return last < small_limit_bytes ? small_class_of(last) : large_class_of(last);
}

/// The alignment of a class's blocks that follows from their size: its largest power of two, at most a page,
/// since upstreams may refuse more than that.
inline constexpr std::size_t page_bytes = 4096;
inline constexpr std::size_t cache_line_bytes = 64;

[[nodiscard]] constexpr std::size_t class_alignment(unsigned index) noexcept {
  const std::size_t bytes = class_block_bytes(index);
  const std::size_t natural = bytes & (~bytes + 1);
  return natural < page_bytes ? natural : page_bytes;
}

/// The size of the block that a request of `bytes` gets from a pool whose buckets serve it. Requests beyond
/// every bucket are rounded up to a page, or returned as they are where that overflows.
[[nodiscard]] constexpr std::size_t good_size(std::size_t bytes) noexcept {
  if (bytes <= 1) {
    return smallest_block_bytes;
  }
  if (bytes <= largest_block_bytes) {
    return class_block_bytes(class_of(bytes - 1));
  }
  const std::size_t rounded = (bytes + (page_bytes - 1)) & ~(page_bytes - 1);
  return rounded < bytes ? bytes : rounded;
}

}  // namespace cistern::detail
