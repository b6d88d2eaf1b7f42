// next_malloc: the malloc family that the program would have without us, and what serves while it is looked
// for.
#pragma once

#include <cstddef>

namespace cistern::detail {

/// The functions behind ours in the order of symbol look-up: the C library's, or those of another malloc.
struct malloc_functions {
  void* (*malloc)(std::size_t bytes);
  void (*free)(void* block);
  void* (*calloc)(std::size_t count, std::size_t bytes);
  void* (*realloc)(void* block, std::size_t bytes);
  void* (*aligned_alloc)(std::size_t alignment, std::size_t bytes);
  void* (*memalign)(std::size_t alignment, std::size_t bytes);
  int (*posix_memalign)(void** block, std::size_t alignment, std::size_t bytes);
  void* (*valloc)(std::size_t bytes);
  void* (*pvalloc)(std::size_t bytes);
  std::size_t (*malloc_usable_size)(void* block);
};

extern constinit const malloc_functions* next_functions;

/// The first call of one of them looks all up, by the one thread that there is then. What that asks of malloc
/// itself comes from a small arena.
[[nodiscard]] inline const malloc_functions& next_malloc() noexcept {
  return *next_functions;
}

/// Whether a block is from that arena, and so nothing to free.
[[nodiscard]] bool is_from_before(const void* block) noexcept;
/// Bytes from the block to the end of the arena. Precondition: `is_from_before(block)`.
[[nodiscard]] std::size_t bytes_from_before(const void* block) noexcept;

/// A function of that name behind ours; ends the process with a message if there is none.
[[nodiscard]] void* next_function(const char* name) noexcept;

}  // namespace cistern::detail
