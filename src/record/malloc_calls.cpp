// The C allocation functions of libcistern-record.so: each calls the one behind it, and is recorded.
// Parameters have the names they have in the C library.
#include <cstdint>
#include <cstring>

#include "next_malloc.hpp"
#include "recorded_process.hpp"
#include <unistd.h>

#define CISTERN_EXPORT_C extern "C" __attribute__((visibility("default")))

namespace {

using cistern::detail::bytes_from_before;
using cistern::detail::is_from_before;
using cistern::detail::next_malloc;
using cistern::detail::recorded_process::call;
using cistern::detail::recorded_process::natural_alignment;
using cistern::detail::recorded_process::passes_by;
using cistern::detail::recorded_process::passes_by_quickly;
using cistern::detail::recorded_process::takes;

/// The size of an array; a size that nobody can have where there is none.
std::size_t array_bytes(std::size_t count, std::size_t bytes) noexcept {
  std::size_t product = 0;
  return __builtin_mul_overflow(count, bytes, &product) ? SIZE_MAX : product;
}

std::size_t page_bytes() noexcept {
  return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// A block of the arena that served while malloc was looked for becomes one of malloc's.
void* move_from_before(const void* block, std::size_t bytes) noexcept {
  void* const moved = next_malloc().malloc(bytes);
  const std::size_t there_bytes = bytes_from_before(block);
  if (moved != nullptr) std::memcpy(moved, block, bytes < there_bytes ? bytes : there_bytes);
  return moved;
}

/// Without a record of it.
void* reallocate_unseen(void* block, std::size_t bytes) noexcept {
  return block != nullptr && is_from_before(block) ? move_from_before(block, bytes)
                                                   : next_malloc().realloc(block, bytes);
}

/// Whether neither the block nor what it becomes is to be recorded.
bool reallocation_passes_by(const void* block, std::size_t bytes) noexcept {
  return (block == nullptr || passes_by(block)) && passes_by(bytes);
}

/// `recorded` is the call of who wants that.
void* reallocate(const call& recorded, void* block, std::size_t bytes) noexcept {
  if (block == nullptr || is_from_before(block) || passes_by(block)) {  // Nothing is known of it.
    void* const made = reallocate_unseen(block, bytes);
    recorded.allocated(made, bytes, natural_alignment(bytes));
    return made;
  }
  if (bytes == 0) {  // Frees the block. Some give another one for it, of no bytes.
    recorded.frees(block);
    void* const made = next_malloc().realloc(block, 0);
    if (made != nullptr) recorded.allocated(made, 0, 1);
    return made;
  }
  recorded.reallocates(block);
  void* const made = next_malloc().realloc(block, bytes);
  recorded.reallocated(block, made, bytes);
  return made;
}

// The two that are called most: apart, so that who passes by saves no registers for them.

[[gnu::noinline]] void* allocate(std::size_t bytes, const void* frame, const void* caller) noexcept {
  if (!takes(bytes)) return next_malloc().malloc(bytes);
  const call recorded(frame, caller);
  void* const block = next_malloc().malloc(bytes);
  recorded.allocated(block, bytes, natural_alignment(bytes));
  return block;
}

[[gnu::noinline]] void free_recorded(void* block, const void* frame, const void* caller) noexcept {
  const call recorded(frame, caller);
  recorded.frees(block);
  next_malloc().free(block);
}

}  // namespace

CISTERN_EXPORT_C void* malloc(std::size_t size) noexcept {
  if (passes_by_quickly(size)) return next_malloc().malloc(size);
  return allocate(size, __builtin_frame_address(0), __builtin_return_address(0));
}

CISTERN_EXPORT_C void free(void* ptr) noexcept {
  if (ptr == nullptr || is_from_before(ptr)) return;
  if (passes_by(ptr)) return next_malloc().free(ptr);
  free_recorded(ptr, __builtin_frame_address(0), __builtin_return_address(0));
}

CISTERN_EXPORT_C void* calloc(std::size_t nmemb, std::size_t size) noexcept {
  const std::size_t bytes = array_bytes(nmemb, size);
  if (passes_by(bytes)) return next_malloc().calloc(nmemb, size);
  const call recorded;
  void* const block = next_malloc().calloc(nmemb, size);
  recorded.allocated(block, bytes, natural_alignment(bytes));
  return block;
}

CISTERN_EXPORT_C void* realloc(void* ptr, std::size_t size) noexcept {
  if (reallocation_passes_by(ptr, size)) return reallocate_unseen(ptr, size);
  const call recorded;
  return reallocate(recorded, ptr, size);
}

CISTERN_EXPORT_C void* reallocarray(void* ptr, std::size_t nmemb, std::size_t size) noexcept {
  const std::size_t bytes = array_bytes(nmemb, size);
  if (reallocation_passes_by(ptr, bytes)) return reallocate_unseen(ptr, bytes);
  const call recorded;
  return reallocate(recorded, ptr, bytes);
}

CISTERN_EXPORT_C int posix_memalign(void** memptr, std::size_t alignment, std::size_t size) noexcept {
  if (passes_by(size)) return next_malloc().posix_memalign(memptr, alignment, size);
  const call recorded;
  const int error = next_malloc().posix_memalign(memptr, alignment, size);
  recorded.allocated(error == 0 ? *memptr : nullptr, size, alignment);
  return error;
}

CISTERN_EXPORT_C void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  if (passes_by(size)) return next_malloc().aligned_alloc(alignment, size);
  const call recorded;
  void* const block = next_malloc().aligned_alloc(alignment, size);
  recorded.allocated(block, size, alignment);
  return block;
}

CISTERN_EXPORT_C void* memalign(std::size_t alignment, std::size_t size) noexcept {
  if (passes_by(size)) return next_malloc().memalign(alignment, size);
  const call recorded;
  void* const block = next_malloc().memalign(alignment, size);
  recorded.allocated(block, size, alignment);
  return block;
}

CISTERN_EXPORT_C void* valloc(std::size_t size) noexcept {
  if (passes_by(size)) return next_malloc().valloc(size);
  const call recorded;
  void* const block = next_malloc().valloc(size);
  recorded.allocated(block, size, page_bytes());
  return block;
}

CISTERN_EXPORT_C void* pvalloc(std::size_t size) noexcept {
  if (passes_by(size)) return next_malloc().pvalloc(size);
  const call recorded;
  void* const block = next_malloc().pvalloc(size);
  recorded.allocated(block, size, page_bytes());
  return block;
}

CISTERN_EXPORT_C std::size_t malloc_usable_size(void* ptr) noexcept {
  return ptr != nullptr && is_from_before(ptr) ? bytes_from_before(ptr)
                                               : next_malloc().malloc_usable_size(ptr);
}

// C libraries from before 2025 have no such functions.
CISTERN_EXPORT_C void free_sized(void* ptr, std::size_t size) noexcept {
  if (ptr == nullptr) return;
  if (passes_by(ptr)) return next_malloc().free(ptr);
  const call recorded;
  recorded.frees(ptr, size, natural_alignment(size));
  next_malloc().free(ptr);
}

CISTERN_EXPORT_C void free_aligned_sized(void* ptr, std::size_t alignment, std::size_t size) noexcept {
  if (ptr == nullptr) return;
  if (passes_by(ptr)) return next_malloc().free(ptr);
  const call recorded;
  recorded.frees(ptr, size, alignment);
  next_malloc().free(ptr);
}

// For programs from before 2018.
CISTERN_EXPORT_C void cfree(void* ptr) noexcept {
  if (ptr == nullptr || is_from_before(ptr)) return;
  if (passes_by(ptr)) return next_malloc().free(ptr);
  free_recorded(ptr, __builtin_frame_address(0), __builtin_return_address(0));
}
