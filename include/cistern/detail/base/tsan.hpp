// ThreadSanitizer: tells it of hand-overs between threads in code that isn't instrumented.
#pragma once

// A program under ThreadSanitizer may be linked with a plain library, whose atomic operations the sanitizer
// doesn't see: what one thread hands to another inside the library would be reported as a race of the user's.
// So the library's plain sources (which define CISTERN_LIBRARY_SOURCE) say what they hand over, in every
// build: without a sanitizer that is a test of one address. Nobody else does: a user's instrumented code is
// seen anyway, and plain code of a user is nothing that the sanitizer could judge. As both ends of a
// hand-over may lie in different code, what is announced is the address of the atomic variable itself, which
// is where the sanitizer keeps what instrumented code handed over.
#if defined(__SANITIZE_THREAD__)
#define CISTERN_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CISTERN_TSAN 1
#endif
#endif

#if defined(CISTERN_LIBRARY_SOURCE) && defined(__ELF__) && !defined(CISTERN_TSAN)
#define CISTERN_TELLS_TSAN 1
extern "C" {
[[gnu::weak]] void __tsan_acquire(void* address);
[[gnu::weak]] void __tsan_release(void* address);
}
#else
#define CISTERN_TELLS_TSAN 0
#endif

namespace cistern::detail {

/// Whether the program has ThreadSanitizer, as far as the library's sources and instrumented code can tell.
[[nodiscard, gnu::always_inline]] inline bool program_has_tsan() noexcept {
#if defined(CISTERN_TSAN)
  return true;
#elif CISTERN_TELLS_TSAN
  return __tsan_acquire != nullptr;
#else
  return false;
#endif
}

// Always inlined: a copy that a user's code brought along would do nothing.

/// Right after an operation on `atomic` that takes over what others handed over by it.
[[gnu::always_inline]] inline void tsan_acquire([[maybe_unused]] const void* atomic) noexcept {
#if CISTERN_TELLS_TSAN
  if (__tsan_acquire != nullptr) {
    __tsan_acquire(const_cast<void*>(atomic));
  }
#endif
}

/// Right before an operation on `atomic` that hands over what this thread has done up to now.
[[gnu::always_inline]] inline void tsan_release([[maybe_unused]] const void* atomic) noexcept {
#if CISTERN_TELLS_TSAN
  if (__tsan_release != nullptr) {
    __tsan_release(const_cast<void*>(atomic));
  }
#endif
}

}  // namespace cistern::detail
