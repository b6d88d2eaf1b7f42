// The allocator before libcistern-malloc.so: the C library's, by the names it keeps when malloc is replaced.
#include <cstdlib>

#include "foreign_blocks.hpp"
#include <dlfcn.h>
#include <malloc.h>

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): names of the C library
extern "C" {
// Weak: a C library without them still works, but can't be passed through to, and has no blocks of its own
// either.
void* __libc_memalign(std::size_t alignment, std::size_t bytes) __attribute__((weak));
void* __libc_malloc(std::size_t bytes) __attribute__((weak));
void* __libc_calloc(std::size_t count, std::size_t bytes) __attribute__((weak));
void* __libc_realloc(void* block, std::size_t bytes) __attribute__((weak));
void __libc_free(void* block) __attribute__((weak));
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace cistern::detail {

void* foreign_allocate(std::size_t bytes, std::size_t alignment) noexcept {
  constexpr std::size_t alignment_of_malloc = 16;
  if (alignment > alignment_of_malloc) {
    return __libc_memalign != nullptr ? __libc_memalign(alignment, bytes) : nullptr;
  }
  return __libc_malloc != nullptr ? __libc_malloc(bytes) : nullptr;
}

void* foreign_allocate_zeroed(std::size_t bytes) noexcept {
  return __libc_calloc != nullptr ? __libc_calloc(1, bytes) : nullptr;
}

void* foreign_reallocate(void* block, std::size_t bytes) noexcept {
  return __libc_realloc != nullptr ? __libc_realloc(block, bytes) : nullptr;
}

void foreign_deallocate(void* block) noexcept {
  if (__libc_free != nullptr) {
    __libc_free(block);
  }
}

std::size_t foreign_usable_bytes(void* block) noexcept {
  using function = std::size_t (*)(void*);
  static const auto next = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "malloc_usable_size"));
  return next != nullptr ? next(block) : 0;
}

// While the C library's malloc holds nothing of the system, it has no block. It does where a plugin was
// loaded that sees the C library first.
bool foreign_may_have_blocks() noexcept {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  const struct ::mallinfo2 held = ::mallinfo2();
  return held.arena != 0 || held.hblkhd != 0;
#else
  return true;
#endif
}

}  // namespace cistern::detail
