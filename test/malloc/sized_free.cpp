// C23's free_sized and free_aligned_sized, which glibc of today may not have.
#include <cerrno>
#include <cstdlib>

#include "contract.hpp"
#include <dlfcn.h>

namespace {

template <class Function>
Function* function(const char* name) {
  auto* const found = reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
  if (found == nullptr && !contract::is_cistern()) contract::skip("this C library hasn't got it");
  MUST(found != nullptr);
  return found;
}

}  // namespace

CONTRACT_CASE(free_sized_takes_malloc_calloc_realloc) {
  auto* const free_sized = function<void(void*, std::size_t)>("free_sized");
  const std::size_t before = contract::resident_bytes();
  for (int round = 0; round < 300; ++round) {
    for (std::size_t bytes = 0; bytes < 2'000'000; bytes += 1 + bytes) {
      void* const block = malloc(bytes);
      MUST(block != nullptr);
      contract::fill(block, bytes < 5000 ? bytes : 5000, 1);
      errno = 4711;
      free_sized(block, bytes);
      free_sized(calloc(bytes, 1), bytes);
      free_sized(realloc(malloc(10), bytes + 1), bytes + 1);
      MUST(errno == 4711);
    }
  }
  free_sized(nullptr, 0);
  MUST(contract::resident_bytes() < before + (std::size_t{80} << 20U));
}

CONTRACT_CASE(free_aligned_sized_takes_aligned_alloc) {
  auto* const free_aligned_sized = function<void(void*, std::size_t, std::size_t)>("free_aligned_sized");
  for (std::size_t alignment = 8; alignment <= 1U << 20U; alignment *= 2) {
    for (std::size_t bytes = 0; bytes < 300'000; bytes += 1 + bytes) {
      void* const block = aligned_alloc(alignment, bytes);
      MUST(block != nullptr);
      free_aligned_sized(block, alignment, bytes);
    }
  }
  free_aligned_sized(nullptr, 64, 0);
}
