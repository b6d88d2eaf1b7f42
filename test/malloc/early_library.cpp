#include "early_library.hpp"

#include <cstdlib>
#include <cstring>

#include <pthread.h>

bool early_library_allocate_in_fork_handlers = false;

namespace {

unsigned calls = 0;
void* block = nullptr;

void allocate() {
  if (!early_library_allocate_in_fork_handlers) return;
  ++calls;
  for (std::size_t bytes = 16; bytes < 300'000; bytes *= 2) {
    void* volatile one = std::malloc(bytes);
    if (one == nullptr) std::abort();
    std::free(one);
  }
}

__attribute__((constructor)) void initialise() {
  pthread_atfork(allocate, allocate, allocate);
  block = std::malloc(1000);
  if (block != nullptr) std::memset(block, 0x33, 1000);
}

}  // namespace

unsigned early_library_fork_handler_calls() {
  return calls;
}
void* early_library_block() {
  return block;
}
