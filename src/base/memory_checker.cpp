#include <cistern/detail/base/asan_tail.hpp>
#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/base/size_classes.hpp>

#include <cstdio>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define CISTERN_TELLS_MEMCHECK 1
#else
#define CISTERN_TELLS_MEMCHECK 0
#endif

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the sanitizer's names
extern "C" {
[[gnu::weak]] int __asan_address_is_poisoned(const volatile void* address);
[[gnu::weak]] void __asan_report_error(void* pc, void* bp, void* sp, void* address, int is_write,
                                       std::size_t access_size);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace cistern::detail {
namespace {

// Other tools of Valgrind answer no request of memcheck's.
[[nodiscard]] bool runs_under_memcheck() noexcept {
#if CISTERN_TELLS_MEMCHECK
  const unsigned char probe = 0;
  unsigned char validity = 0;
  return VALGRIND_GET_VBITS(&probe, &validity, 1) == 1;
#else
  return false;
#endif
}

}  // namespace

bool memory_checker_present() noexcept {
  return program_has_asan() || runs_under_memcheck();
}

void forbid_access(const void* begin, std::size_t bytes) noexcept {
  poison_tail(begin, bytes);
#if CISTERN_TELLS_MEMCHECK
  (void)VALGRIND_MAKE_MEM_NOACCESS(begin, bytes);
#endif
}

void allow_access(const void* begin, std::size_t bytes) noexcept {
  unpoison_tail(begin, bytes);
#if CISTERN_TELLS_MEMCHECK
  (void)VALGRIND_MAKE_MEM_UNDEFINED(begin, bytes);
#endif
}

void allow_access_again(const void* begin, std::size_t bytes) noexcept {
  unpoison_tail(begin, bytes);
#if CISTERN_TELLS_MEMCHECK
  (void)VALGRIND_MAKE_MEM_DEFINED(begin, bytes);
#endif
}

bool is_forbidden(const void* address) noexcept {
  if (__asan_address_is_poisoned != nullptr && __asan_address_is_poisoned(address) != 0) {
    return true;
  }
#if CISTERN_TELLS_MEMCHECK
  constexpr int is_noaccess = 3;
  unsigned char validity = 0;
  return VALGRIND_GET_VBITS(address, &validity, 1) == is_noaccess;
#else
  return false;
#endif
}

void report_misuse(const char* what, const void* block, std::size_t block_bytes) noexcept {
  std::fprintf(stderr, "cistern: %s: %p, of %zu bytes\n", what, block, block_bytes);
  if (__asan_report_error != nullptr) {
    forbid_access(block, smallest_block_bytes);  // or it has no name for what is wrong
    void* const frame = __builtin_frame_address(0);
    __asan_report_error(__builtin_return_address(0), frame, frame, const_cast<void*>(block), 1, block_bytes);
  }
#if CISTERN_TELLS_MEMCHECK
  unsigned char validity = 0;
  const bool may_be_touched = VALGRIND_GET_VBITS(block, &validity, 1) == 1;
  (void)VALGRIND_MAKE_MEM_NOACCESS(block, 1);
  (void)VALGRIND_CHECK_MEM_IS_ADDRESSABLE(block, 1);
  if (may_be_touched) {
    (void)VALGRIND_MAKE_MEM_DEFINED(block, 1);
    (void)VALGRIND_SET_VBITS(block, &validity, 1);
  }
#endif
}

checker_pause::checker_pause() noexcept {
#if CISTERN_TELLS_MEMCHECK
  VALGRIND_DISABLE_ERROR_REPORTING;
#endif
}

checker_pause::~checker_pause() {
#if CISTERN_TELLS_MEMCHECK
  VALGRIND_ENABLE_ERROR_REPORTING;
#endif
}

}  // namespace cistern::detail
