// A library to be loaded and unloaded, which allocates in its constructor and frees in its destructor.
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

void* block = nullptr;

__attribute__((constructor)) void initialise() {
  block = std::malloc(3000);
  if (block != nullptr) std::memset(block, 0x44, 3000);
}

__attribute__((destructor)) void finish() {
  std::free(block);
}

std::vector<std::string> strings(100, std::string(100, 'x'));

}  // namespace

extern "C" void plugin_takes(void* given) {
  std::free(given);
}

extern "C" void* plugin_gives_away() {
  thread_local std::vector<int> of_this_thread(1000);
  of_this_thread[7] = 1;
  auto* const given = static_cast<char*>(std::malloc(2000));
  if (given != nullptr && strings.size() == 100) std::memset(given, 0x55, 2000);
  return given;
}
