// AddressSanitizer: tells it which parts of a pool's memory nobody may touch now.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define CISTERN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CISTERN_ASAN 1
#endif
#endif
#if !defined(CISTERN_ASAN)
#define CISTERN_ASAN 0
#endif

#if CISTERN_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace cistern::detail {

/// Whether this translation unit is compiled with AddressSanitizer. A program may mix instrumented and plain
/// translation units, so poisoning and unpoisoning of one piece of memory belong into the same one.
inline constexpr bool asan_build = CISTERN_ASAN != 0;

/// From now on any access to [`begin`, `begin + bytes`) is reported. No effect without ASan.
inline void asan_poison([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) noexcept {
#if CISTERN_ASAN
  __asan_poison_memory_region(begin, bytes);
#endif
}

/// Allows access to [`begin`, `begin + bytes`) again. No effect without ASan.
inline void asan_unpoison([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) noexcept {
#if CISTERN_ASAN
  __asan_unpoison_memory_region(begin, bytes);
#endif
}

}  // namespace cistern::detail
