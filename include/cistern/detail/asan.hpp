// AddressSanitizer annotations: memory that exists but must not be touched now is poisoned.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define CISTERN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CISTERN_ASAN 1
#endif
#endif

#if defined(CISTERN_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace cistern::detail {

/// Marks `[memory, memory + bytes)` as not to be touched. Does nothing without AddressSanitizer.
inline void asan_poison([[maybe_unused]] const void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(CISTERN_ASAN)
  __asan_poison_memory_region(memory, bytes);
#endif
}

/// Undoes `asan_poison`.
inline void asan_unpoison([[maybe_unused]] const void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(CISTERN_ASAN)
  __asan_unpoison_memory_region(memory, bytes);
#endif
}

}  // namespace cistern::detail
