// ThreadSanitizer: tells it of hand-overs between threads in code that isn't instrumented.
#pragma once

// A program under ThreadSanitizer may be linked with a plain library, whose atomic operations the sanitizer
// doesn't see: what one thread hands to another inside the library would be reported as a race of the user's.
// So whoever hands over says so, in every build: one test of an address where there is no sanitizer. The
// symbols are weak, and asked for by inline functions too, since of those the linker keeps one copy, which
// may be a plain unit's.
#if defined(__ELF__)
extern "C" {
[[gnu::weak]] void __tsan_acquire(void* address);
[[gnu::weak]] void __tsan_release(void* address);
}
#endif

namespace cistern::detail {

/// This thread sees from now on what others had done when they called `tsan_release` for the same address.
/// Comes right after the atomic operation that takes over.
inline void tsan_acquire([[maybe_unused]] const void* address) noexcept {
#if defined(__ELF__)
  if (__tsan_acquire != nullptr) {
    __tsan_acquire(const_cast<void*>(address));
  }
#endif
}

/// What this thread has done up to now is seen by who calls `tsan_acquire` for the same address later. Comes
/// right before the atomic operation that hands over.
inline void tsan_release([[maybe_unused]] const void* address) noexcept {
#if defined(__ELF__)
  if (__tsan_release != nullptr) {
    __tsan_release(const_cast<void*>(address));
  }
#endif
}

}  // namespace cistern::detail
