// A library that test/record/recorded_program.cpp loads and unloads.
#include <cstddef>
#include <cstdlib>

extern "C" __attribute__((visibility("default"))) void* allocates(std::size_t bytes) {
  void* volatile block = std::malloc(bytes);
  return block;
}
