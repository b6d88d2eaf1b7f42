// The C allocation functions of libcistern-malloc.so: their contracts and their errno, over the heap.
// Parameters have the names they have in the C library.
#include <cistern/detail/base/os_pages.hpp>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "heap.hpp"

#define CISTERN_EXPORT_C extern "C" __attribute__((visibility("default")))

namespace {

using cistern::detail::heap;

void* aligned(std::size_t bytes, std::size_t alignment) noexcept {
  if (!std::has_single_bit(alignment)) {
    errno = EINVAL;
    return nullptr;
  }
  return heap::allocate(bytes, alignment);
}

// The size of an array; a size that nobody can have where there is none.
std::size_t array_bytes(std::size_t count, std::size_t bytes) noexcept {
  std::size_t product = 0;
  return __builtin_mul_overflow(count, bytes, &product) ? SIZE_MAX : product;
}

}  // namespace

CISTERN_EXPORT_C void* malloc(std::size_t size) noexcept {
  return heap::allocate(size);
}

CISTERN_EXPORT_C void free(void* ptr) noexcept {
  heap::deallocate(ptr);
}

CISTERN_EXPORT_C void* calloc(std::size_t nmemb, std::size_t size) noexcept {
  return heap::allocate_zeroed(array_bytes(nmemb, size));
}

// As in the C library, a size of zero frees.
CISTERN_EXPORT_C void* realloc(void* ptr, std::size_t size) noexcept {
  if (size == 0 && ptr != nullptr) {
    heap::deallocate(ptr, "realloc");
    return nullptr;
  }
  return heap::reallocate(ptr, size);
}

CISTERN_EXPORT_C void* reallocarray(void* ptr, std::size_t nmemb, std::size_t size) noexcept {
  return realloc(ptr, array_bytes(nmemb, size));
}

CISTERN_EXPORT_C int posix_memalign(void** memptr, std::size_t alignment, std::size_t size) noexcept {
  if (!std::has_single_bit(alignment) || alignment % sizeof(void*) != 0) {
    return EINVAL;
  }
  const int errno_before = errno;
  void* block = heap::allocate(size, alignment);
  if (block == nullptr) {
    errno = errno_before;
    return ENOMEM;
  }
  *memptr = block;
  return 0;
}

CISTERN_EXPORT_C void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return aligned(size, alignment);
}

CISTERN_EXPORT_C void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return aligned(size, alignment);
}

CISTERN_EXPORT_C void* valloc(std::size_t size) noexcept {
  return aligned(size, cistern::detail::os_page_bytes());
}

CISTERN_EXPORT_C void* pvalloc(std::size_t size) noexcept {
  const std::size_t whole_bytes = cistern::detail::whole_pages(size);
  return aligned(whole_bytes != 0 ? whole_bytes : SIZE_MAX, cistern::detail::os_page_bytes());
}

CISTERN_EXPORT_C std::size_t malloc_usable_size(void* ptr) noexcept {
  return heap::usable_bytes(ptr);
}

CISTERN_EXPORT_C int malloc_trim(std::size_t keep_bytes) noexcept {
  return heap::trim(keep_bytes) ? 1 : 0;
}

// The sizes aren't trusted: a block that `realloc` left in place has another size than was last asked for.
CISTERN_EXPORT_C void free_sized(void* ptr, std::size_t /*size*/) noexcept {
  heap::deallocate(ptr, "free_sized");
}

CISTERN_EXPORT_C void free_aligned_sized(void* ptr, std::size_t /*alignment*/,
                                         std::size_t /*size*/) noexcept {
  heap::deallocate(ptr, "free_aligned_sized");
}

// For programs from before 2018.
CISTERN_EXPORT_C void cfree(void* ptr) noexcept {
  heap::deallocate(ptr, "cfree");
}
