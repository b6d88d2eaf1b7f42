// Small byte operations that pay for being inlined: searching for a byte and copying a short run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace cistern::detail {

// Inlined for a small array, GCC warns of the branches that longer texts would take.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Warray-bounds"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#pragma GCC diagnostic ignored "-Wstringop-overread"
#endif

/// Copies `bytes` bytes; the ranges may overlap. Lengths known to the compiler become plain moves; short ones
/// take two overlapping loads and stores, because a call costs more than the copy.
inline void copy_bytes(char* to, const char* from, std::size_t bytes) noexcept {
  if (__builtin_constant_p(bytes) && bytes > 0) {
    std::memmove(to, from, bytes);
    return;
  }
  const auto ends = [&]<class Word>(Word) {
    Word front;
    Word back;
    std::memcpy(&front, from, sizeof(Word));
    std::memcpy(&back, from + bytes - sizeof(Word), sizeof(Word));
    std::memcpy(to, &front, sizeof(Word));
    std::memcpy(to + bytes - sizeof(Word), &back, sizeof(Word));
  };
  struct sixteen_bytes {
    std::uint64_t halves[2];
  };
  if (bytes > 32) {
    std::memmove(to, from, bytes);
  } else if (bytes >= 16) {
    ends(sixteen_bytes{});
  } else if (bytes >= 8) {
    ends(std::uint64_t{});
  } else if (bytes >= 4) {
    ends(std::uint32_t{});
  } else if (bytes >= 2) {
    ends(std::uint16_t{});
  } else if (bytes == 1) {
    *to = *from;
  }
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// How many bytes `matches` looks at.
inline constexpr std::size_t searched_at_once_bytes = 64;

/// One bit for each of the 64 bytes from `first` on, set where it is `wanted`; the lowest bit is the first
/// byte's. Most lines end within so many bytes, and finding that without a branch per step beats calling
/// memchr.
[[nodiscard]] inline std::uint64_t matches(const char* first, char wanted) noexcept {
#if defined(__SSE2__)
  const __m128i pattern = _mm_set1_epi8(wanted);
  const auto sixteen = [&](int offset) {
    const auto* from = reinterpret_cast<const __m128i*>(first + offset);
    return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(from), pattern)));
  };
  const std::uint32_t low = sixteen(0) | sixteen(16) << 16;
  const std::uint32_t high = sixteen(32) | sixteen(48) << 16;
  return low | std::uint64_t{high} << 32;
#else
  // memchr alone is what there is elsewhere; the bit of what it finds.
  const void* const hit = std::memchr(first, static_cast<unsigned char>(wanted), searched_at_once_bytes);
  return hit == nullptr ? 0 : std::uint64_t{1} << (static_cast<const char*>(hit) - first);
#endif
}

/// The first `wanted` in `[first, last)`, or null.
[[nodiscard]] inline const char* find_byte(const char* first, const char* last, char wanted) noexcept {
  if (first == last) {
    return nullptr;
  }
  return static_cast<const char*>(
      std::memchr(first, static_cast<unsigned char>(wanted), static_cast<std::size_t>(last - first)));
}

}  // namespace cistern::detail
