// A plug-in loaded with RTLD_DEEPBIND looks for malloc in its own libraries first. One that is linked with
// libcistern-malloc.so finds the process's there, and blocks may go either way: deepbind PLUGIN
#include <cstdio>
#include <cstdlib>

#include <dlfcn.h>

namespace {

template <class Function>
Function* function_of(void* library, const char* name) {
  void* const found = dlsym(library, name);
  if (found == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::exit(2);
  }
  return reinterpret_cast<Function*>(found);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  void* const plugin = dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND);
  if (plugin == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  if (dlsym(plugin, "malloc") != dlsym(RTLD_DEFAULT, "malloc")) {
    std::fprintf(stderr, "the plug-in has another malloc than the program\n");
    return 1;
  }
  std::free(function_of<void*()>(plugin, "plugin_gives_away")());
  function_of<void(void*)>(plugin, "plugin_takes")(std::malloc(100));
  return dlclose(plugin);
}
