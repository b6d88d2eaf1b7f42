// The function of libcistern-record.so by which a library goes: what is known of its code goes with it.
#include "next_malloc.hpp"
#include "recorded_process.hpp"
#include <dlfcn.h>

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library's has one that is
// reserved
extern "C" __attribute__((visibility("default"))) int dlclose(void* handle) {
  const int result = reinterpret_cast<int (*)(void*)>(cistern::detail::next_function("dlclose"))(handle);
  cistern::detail::recorded_process::modules_were_unloaded();
  return result;
}
