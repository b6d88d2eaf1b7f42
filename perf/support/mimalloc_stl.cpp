#include "support/mimalloc_stl.hpp"

#include <cstddef>

#include "support/peer_malloc.hpp"

namespace {

void* (*new_n)(std::size_t, std::size_t) = nullptr;
void (*free_block)(void*) = nullptr;

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): mimalloc's names
extern "C" void* mi_new_n(std::size_t count, std::size_t size) {
  return new_n(count, size);
}
extern "C" void mi_free(void* block) noexcept {
  free_block(block);
}
// NOLINTEND(readability-identifier-naming)

namespace perf {

void load_mimalloc_stl() {
  new_n = reinterpret_cast<decltype(new_n)>(mimalloc_function("mi_new_n"));
  free_block = reinterpret_cast<decltype(free_block)>(mimalloc_function("mi_free"));
}

}  // namespace perf
