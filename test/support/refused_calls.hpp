// refused_calls: a test says which of the system's calls for memory are refused, and counts them. Included by
// one source of a program: its functions stand in for the C library's.
#pragma once

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <limits>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

namespace cistern::test_support {

// Called before ThreadSanitizer is ready: nothing in here may be instrumented.
#define CISTERN_UNINSTRUMENTED __attribute__((no_sanitize("thread")))

/// One of the calls, and how many more of it the system gets to see.
class refusable_call {
 public:
  /// Lets so many pass, and refuses all after them with ENOMEM.
  void refuse_after(long count) { __atomic_store_n(&passes_, count, __ATOMIC_SEQ_CST); }
  void allow() { refuse_after(std::numeric_limits<long>::max()); }
  /// How often it was made, refused or not.
  [[nodiscard]] long calls() const { return __atomic_load_n(&calls_, __ATOMIC_SEQ_CST); }
  /// How often it was refused.
  [[nodiscard]] long refused() const { return __atomic_load_n(&refused_, __ATOMIC_SEQ_CST); }

  [[nodiscard]] CISTERN_UNINSTRUMENTED bool refuses_now() {
    __atomic_fetch_add(&calls_, 1, __ATOMIC_SEQ_CST);
    if (__atomic_fetch_sub(&passes_, 1, __ATOMIC_SEQ_CST) > 0) return false;
    __atomic_store_n(&passes_, 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&refused_, 1, __ATOMIC_SEQ_CST);
    errno = ENOMEM;
    return true;
  }

 private:
  long passes_ = std::numeric_limits<long>::max();
  long calls_ = 0;
  long refused_ = 0;
};

inline refusable_call mmap_call;
inline refusable_call munmap_call;
inline refusable_call mremap_call;
inline refusable_call madvise_call;

/// For a scope. Boost.Test and sanitizers may call the system too: keep it short.
class while_refused {
 public:
  explicit while_refused(refusable_call& call, long passes = 0) : call_(call) { call_.refuse_after(passes); }
  while_refused(const while_refused&) = delete;
  while_refused& operator=(const while_refused&) = delete;
  ~while_refused() { call_.allow(); }

 private:
  refusable_call& call_;
};

// Past the C library, and past a sanitizer's idea of these calls, which may not be there yet.
template <class... Arguments>
[[nodiscard]] CISTERN_UNINSTRUMENTED long call_system(refusable_call& call, long number,
                                                      Arguments... arguments) {
  return call.refuses_now() ? -1 : ::syscall(number, arguments...);
}

}  // namespace cistern::test_support

extern "C" {

#if defined(__SANITIZE_THREAD__)
int __interceptor_munmap(void* address, std::size_t bytes) noexcept;  // NOLINT(bugprone-reserved-identifier)
#endif

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name,cert-dcl50-cpp): as the C library has them
// NOLINTBEGIN(performance-no-int-to-ptr): what the system returns
CISTERN_UNINSTRUMENTED void* mmap(void* address, std::size_t bytes, int protection, int flags, int file,
                                  off_t offset) noexcept {
  return reinterpret_cast<void*>(cistern::test_support::call_system(
      cistern::test_support::mmap_call, SYS_mmap, address, bytes, protection, flags, file, offset));
}

// ThreadSanitizer must hear of it: else who gets the addresses next races with who had them.
CISTERN_UNINSTRUMENTED int munmap(void* address, std::size_t bytes) noexcept {
#if defined(__SANITIZE_THREAD__)
  return cistern::test_support::munmap_call.refuses_now() ? -1 : __interceptor_munmap(address, bytes);
#else
  return static_cast<int>(
      cistern::test_support::call_system(cistern::test_support::munmap_call, SYS_munmap, address, bytes));
#endif
}

CISTERN_UNINSTRUMENTED void* mremap(void* address, std::size_t bytes, std::size_t new_bytes, int flags,
                                    ...) noexcept {
  std::va_list more;
  va_start(more, flags);
  void* const place = (static_cast<unsigned>(flags) & MREMAP_FIXED) != 0 ? va_arg(more, void*) : nullptr;
  va_end(more);
  return reinterpret_cast<void*>(cistern::test_support::call_system(
      cistern::test_support::mremap_call, SYS_mremap, address, bytes, new_bytes, flags, place));
}

CISTERN_UNINSTRUMENTED int madvise(void* address, std::size_t bytes, int advice) noexcept {
  return static_cast<int>(cistern::test_support::call_system(cistern::test_support::madvise_call, SYS_madvise,
                                                             address, bytes, advice));
}
// NOLINTEND(performance-no-int-to-ptr)
// NOLINTEND(readability-inconsistent-declaration-parameter-name,cert-dcl50-cpp)

}  // extern "C"
