// Small byte operations that pay for being inlined: searching for a byte and copying a short run.
#pragma once

#include <bit>
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
  if (bytes > 16) {
    std::memmove(to, from, bytes);
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

/// The first `wanted` in `[first, last)`, or null. The first 64 bytes are looked at without a call or an
/// unpredictable branch per step: most lines end there.
[[nodiscard]] inline const char* find_byte(const char* first, const char* last, char wanted) noexcept {
#if defined(__SSE2__)
  if (last - first >= 64) [[likely]] {
    const __m128i pattern = _mm_set1_epi8(wanted);
    const auto matches = [&](int offset) {
      const auto* from = reinterpret_cast<const __m128i*>(first + offset);
      return static_cast<std::uint64_t>(
          static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(from), pattern))));
    };
    const std::uint64_t found = matches(0) | matches(16) << 16 | matches(32) << 32 | matches(48) << 48;
    if (found != 0) [[likely]] {
      return first + std::countr_zero(found);
    }
    first += 64;
  }
#endif
  if (first == last) {
    return nullptr;
  }
  return static_cast<const char*>(
      std::memchr(first, static_cast<unsigned char>(wanted), static_cast<std::size_t>(last - first)));
}

}  // namespace cistern::detail
