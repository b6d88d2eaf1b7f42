// Poisoning of the unused part of a block, in agreement between headers and the compiled library.
#pragma once

#include <cistern/detail/base/asan.hpp>

#include <cstddef>

// A block's unused tail is poisoned and unpoisoned both by inline functions, compiled with the user's flags,
// and by the library's own sources, compiled with other flags perhaps. So that the two always agree, those
// that aren't instrumented themselves ask at run time whether the program has AddressSanitizer: the library's
// sources (which define CISTERN_LIBRARY_SOURCE) in any build, its users where the library is instrumented
// (its CMake target then defines CISTERN_LIBRARY_HAS_ASAN for them). An instrumented user and a plain library
// work together, and so do an instrumented library and a plain user.
#if !CISTERN_ASAN && (defined(CISTERN_LIBRARY_SOURCE) || defined(CISTERN_LIBRARY_HAS_ASAN))
#define CISTERN_ASKS_FOR_ASAN 1
#else
#define CISTERN_ASKS_FOR_ASAN 0
#endif

#if CISTERN_ASKS_FOR_ASAN
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the sanitizer's names
extern "C" {
[[gnu::weak]] void __asan_poison_memory_region(const volatile void* begin, std::size_t bytes);
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void* begin, std::size_t bytes);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
#endif

namespace cistern::detail {

// Always inlined, here and in asan.hpp: these are others in each kind of translation unit, and the linker
// would keep one of them for all.

/// Whether the program has AddressSanitizer, as far as those can tell who poison tails.
[[nodiscard, gnu::always_inline]] inline bool program_has_asan() noexcept {
#if CISTERN_ASKS_FOR_ASAN
  return __asan_poison_memory_region != nullptr;
#else
  return asan_build;
#endif
}

/// From now on any access to [`begin`, `begin + bytes`) is reported. Must be undone before the block goes
/// back to its resource.
[[gnu::always_inline]] inline void poison_tail(const void* begin, std::size_t bytes) noexcept {
#if CISTERN_ASKS_FOR_ASAN
  if (__asan_poison_memory_region != nullptr) {
    __asan_poison_memory_region(begin, bytes);
  }
#else
  asan_poison(begin, bytes);
#endif
}

/// Allows access to [`begin`, `begin + bytes`) again.
[[gnu::always_inline]] inline void unpoison_tail(const void* begin, std::size_t bytes) noexcept {
#if CISTERN_ASKS_FOR_ASAN
  if (__asan_unpoison_memory_region != nullptr) {
    __asan_unpoison_memory_region(begin, bytes);
  }
#else
  asan_unpoison(begin, bytes);
#endif
}

}  // namespace cistern::detail
