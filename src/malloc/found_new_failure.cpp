// Out of memory in libcistern-malloc.so: the program's C++ library is looked for, since it has the handler
// and must see the exception thrown and caught by itself.
#include <cstdlib>
#include <initializer_list>

#include "new_failure.hpp"
#include <dlfcn.h>
#include <unistd.h>

namespace cistern::detail {
namespace {

// In the order of symbol look-up after this library; else in a library that was loaded for others' use only.
void* find(const char* symbol) noexcept {
  if (void* found = ::dlsym(RTLD_NEXT, symbol); found != nullptr) {
    return found;
  }
  for (const char* name : {"libstdc++.so.6", "libc++.so.1", "libc++abi.so.1"}) {
    if (void* library = ::dlopen(name, RTLD_LAZY | RTLD_NOLOAD); library != nullptr) {
      void* found = ::dlsym(library, symbol);
      ::dlclose(library);  // takes back what `dlopen` counted; the library stays
      if (found != nullptr) {
        return found;
      }
    }
  }
  return nullptr;
}

template <class Function>
Function* find_function(const char* symbol) noexcept {
  return reinterpret_cast<Function*>(find(symbol));
}

}  // namespace

new_handler current_new_handler() noexcept {
  auto* const get = find_function<new_handler()>("_ZSt15get_new_handlerv");
  return get != nullptr ? get() : nullptr;
}

void throw_bad_alloc() {
  if (auto* const thrower = find_function<void()>("_ZSt17__throw_bad_allocv"); thrower != nullptr) {
    thrower();
  }
  constexpr char message[] = "cistern: operator new: out of memory, and no C++ library to say so\n";
  (void)!::write(STDERR_FILENO, message, sizeof(message) - 1);
  std::abort();
}

// The C++ library's own form calls the throwing one, which is ours, and catches.
void* new_or_null(std::size_t bytes, std::size_t alignment) noexcept {
  constexpr char nothrow{};
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) {
    auto* const form = find_function<void*(std::size_t, const char&)>("_ZnwmRKSt9nothrow_t");
    return form != nullptr ? form(bytes, nothrow) : nullptr;
  }
  auto* const form =
      find_function<void*(std::size_t, std::size_t, const char&)>("_ZnwmSt11align_val_tRKSt9nothrow_t");
  return form != nullptr ? form(bytes, alignment, nothrow) : nullptr;
}

}  // namespace cistern::detail
