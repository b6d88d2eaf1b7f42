// Poisoning of the unused part of a block, in agreement between headers and the compiled library.
#pragma once

#include <cistern/detail/asan.hpp>

#include <cstddef>

// A block's unused tail is poisoned and unpoisoned both by inline functions, compiled with the user's flags,
// and by the library's own sources, compiled with other flags perhaps. So that the two always agree, the
// library's sources (which define CISTERN_LIBRARY_SOURCE) ask at run time whether the program has
// AddressSanitizer; an instrumented user and a plain library then work together. The reverse, an instrumented
// library with a plain user, would see writes that nobody announced: instrument the user too, as for the
// containers of the standard library.
#if !CISTERN_ASAN && defined(CISTERN_LIBRARY_SOURCE)
extern "C" {
[[gnu::weak]] void __asan_poison_memory_region(const volatile void* begin, std::size_t bytes);
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void* begin, std::size_t bytes);
}
#endif

namespace cistern::detail {

/// From now on any access to [`begin`, `begin + bytes`) is reported. Must be undone before the block goes
/// back to its resource.
inline void poison_tail(const void* begin, std::size_t bytes) noexcept {
#if !CISTERN_ASAN && defined(CISTERN_LIBRARY_SOURCE)
  if (__asan_poison_memory_region != nullptr) {
    __asan_poison_memory_region(begin, bytes);
  }
#else
  asan_poison(begin, bytes);
#endif
}

/// Allows access to [`begin`, `begin + bytes`) again.
inline void unpoison_tail(const void* begin, std::size_t bytes) noexcept {
#if !CISTERN_ASAN && defined(CISTERN_LIBRARY_SOURCE)
  if (__asan_unpoison_memory_region != nullptr) {
    __asan_unpoison_memory_region(begin, bytes);
  }
#else
  asan_unpoison(begin, bytes);
#endif
}

}  // namespace cistern::detail
