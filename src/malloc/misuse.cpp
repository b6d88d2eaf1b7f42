#include "misuse.hpp"

#include <cstdlib>

#include "../base/signal_text.hpp"

namespace cistern::detail {

void misuse_found(const char* function, const void* address, const char* what) noexcept {
  signal_text text;
  text.add("cistern: ").add(function).add("(").add_address(address).add("): ").add(what);
  text.write_to_stderr();
  std::abort();
}

}  // namespace cistern::detail
