#include "misuse.hpp"

#include <cistern/detail/base/misuse.hpp>

#include "../base/signal_text.hpp"

namespace cistern::detail {

void misuse_found(const char* function, const void* address, const char* what) noexcept {
  signal_text text;
  text.add("cistern: ").add(function).add("(").add_address(address).add("): ").add(what);
  misuse_found(text.c_str());
}

}  // namespace cistern::detail
