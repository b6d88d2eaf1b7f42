// The allocator before cistern::global_new: malloc, on which the C++ library's own operator new stands.
#include <algorithm>
#include <cstdlib>

#include "../foreign_blocks.hpp"

namespace cistern::detail {

void* foreign_allocate(std::size_t bytes, std::size_t alignment) noexcept {
  if (alignment <= alignof(std::max_align_t)) {
    return std::malloc(std::max<std::size_t>(bytes, 1));
  }
  // `aligned_alloc` wants a multiple of the alignment.
  const std::size_t whole_bytes = (std::max<std::size_t>(bytes, 1) + (alignment - 1)) & ~(alignment - 1);
  return whole_bytes < bytes ? nullptr : std::aligned_alloc(alignment, whole_bytes);
}

void foreign_deallocate(void* block) noexcept {
  std::free(block);
}

// Operators new and delete ask for none of these; the heap's other functions aren't theirs.
void* foreign_allocate_zeroed(std::size_t bytes) noexcept {
  return std::calloc(1, bytes);
}
void* foreign_reallocate(void* block, std::size_t bytes) noexcept {
  return std::realloc(block, bytes);
}
std::size_t foreign_usable_bytes(void* /*block*/) noexcept {
  return 0;
}
bool foreign_may_have_blocks() noexcept {
  return true;
}

}  // namespace cistern::detail
