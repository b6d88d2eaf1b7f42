#include "support/loaded_library.hpp"

#include <stdexcept>
#include <utility>

#include <dlfcn.h>

namespace perf {

loaded_library::loaded_library(std::string name, const char* file)
    : name_(std::move(name)), library_(dlopen(file, RTLD_NOW | RTLD_LOCAL)) {
  if (library_ == nullptr) throw std::runtime_error("can't load " + name_ + ": " + dlerror());
}

void* loaded_library::address_of(const char* symbol) const {
  void* const function = dlsym(library_, symbol);
  if (function == nullptr) throw std::runtime_error(name_ + " lacks " + symbol);
  return function;
}

}  // namespace perf
