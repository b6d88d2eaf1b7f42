// Out of memory in cistern::global_new: the C++ library is the one that the program is linked with.
#include <new>

#include "../new_failure.hpp"

namespace cistern::detail {

new_handler current_new_handler() noexcept {
  return std::get_new_handler();
}

void throw_bad_alloc() {
  throw std::bad_alloc();
}

void* new_or_null(std::size_t bytes, std::size_t alignment) noexcept {
  try {
    return alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__
               ? ::operator new(bytes)
               : ::operator new (bytes, std::align_val_t{alignment});
  } catch (...) {
    return nullptr;
  }
}

}  // namespace cistern::detail
