// loaded_library: a shared library that is loaded privately, so that it replaces nobody's malloc.
#pragma once

#include <string>

namespace perf {

/// Loaded with `dlopen` for its holder alone, never linked: an allocator's library often defines malloc and
/// operator new, and linking it would put it under every other contestant as well. Stays loaded.
class loaded_library {
 public:
  /// `name` is for messages. Throws `std::runtime_error` if `file` can't be loaded.
  loaded_library(std::string name, const char* file);

  /// Makes `function` the library's function called `symbol`. Throws `std::runtime_error` if there is none.
  template <class Function>
  void look_up(const char* symbol, Function*& function) const {
    function = reinterpret_cast<Function*>(address_of(symbol));
  }

  [[nodiscard]] void* address_of(const char* symbol) const;

 private:
  std::string name_;
  void* library_;
};

}  // namespace perf
