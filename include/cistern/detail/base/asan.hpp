// AddressSanitizer: tells it which parts of a pool's memory nobody may touch now.
#pragma once

#include <cistern/detail/base/assert.hpp>

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

/// Whether this translation unit is compiled with AddressSanitizer.
inline constexpr bool asan_build = CISTERN_ASAN != 0;

/// Whether code in headers may take blocks from a pool's lists and put them there. An instrumented library
/// (whose CMake target says so to its users) keeps poisoned blocks in them, and a plain one none while
/// AddressSanitizer looks on: so of plain code with an instrumented library nothing may. In a checked build
/// the library writes down who has which block.
#if CISTERN_ASAN || defined(CISTERN_LIBRARY_HAS_ASAN)
inline constexpr bool inline_fast_paths = false;
#else
inline constexpr bool inline_fast_paths = !checked_build;
#endif

/// From now on any access to [`begin`, `begin + bytes`) is reported. No effect without ASan.
[[gnu::always_inline]] inline void asan_poison([[maybe_unused]] const void* begin,
                                               [[maybe_unused]] std::size_t bytes) noexcept {
#if CISTERN_ASAN
  __asan_poison_memory_region(begin, bytes);
#endif
}

/// Allows access to [`begin`, `begin + bytes`) again. No effect without ASan.
[[gnu::always_inline]] inline void asan_unpoison([[maybe_unused]] const void* begin,
                                                 [[maybe_unused]] std::size_t bytes) noexcept {
#if CISTERN_ASAN
  __asan_unpoison_memory_region(begin, bytes);
#endif
}

}  // namespace cistern::detail
