// refused_calls: a test says which of the system's calls for memory are refused. Included by one source of a
// program: its functions stand in for the C library's.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <limits>

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/types.h>

namespace cistern::test_support {

/// One of the calls, and how many more of it the system gets to see.
class refusable_call {
 public:
  /// Lets so many pass, and refuses all after them with ENOMEM.
  void refuse_after(long count) { passes_ = count; }
  void allow() { refuse_after(std::numeric_limits<long>::max()); }
  /// How often it was refused.
  [[nodiscard]] long refused() const { return refused_; }

  [[nodiscard]] bool refuses_now() {
    if (passes_.fetch_sub(1) > 0) return false;
    passes_ = 0;
    ++refused_;
    errno = ENOMEM;
    return true;
  }

 private:
  std::atomic<long> passes_{std::numeric_limits<long>::max()};
  std::atomic<long> refused_{0};
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

template <class Function>
[[nodiscard]] Function* next_function(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace cistern::test_support

extern "C" {

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name,cert-dcl50-cpp): as the C library has them
void* mmap(void* address, std::size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  using namespace cistern::test_support;
  static auto* const next = next_function<void*(void*, std::size_t, int, int, int, off_t)>("mmap");
  return mmap_call.refuses_now() ? MAP_FAILED : next(address, bytes, protection, flags, file, offset);
}

int munmap(void* address, std::size_t bytes) noexcept {
  using namespace cistern::test_support;
  static auto* const next = next_function<int(void*, std::size_t)>("munmap");
  return munmap_call.refuses_now() ? -1 : next(address, bytes);
}

void* mremap(void* address, std::size_t bytes, std::size_t new_bytes, int flags, ...) noexcept {
  using namespace cistern::test_support;
  static auto* const next = next_function<void*(void*, std::size_t, std::size_t, int, ...)>("mremap");
  std::va_list more;
  va_start(more, flags);
  void* const place = (static_cast<unsigned>(flags) & MREMAP_FIXED) != 0 ? va_arg(more, void*) : nullptr;
  va_end(more);
  return mremap_call.refuses_now() ? MAP_FAILED : next(address, bytes, new_bytes, flags, place);
}

int madvise(void* address, std::size_t bytes, int advice) noexcept {
  using namespace cistern::test_support;
  static auto* const next = next_function<int(void*, std::size_t, int)>("madvise");
  return madvise_call.refuses_now() ? -1 : next(address, bytes, advice);
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name,cert-dcl50-cpp)

}  // extern "C"
