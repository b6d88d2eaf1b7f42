#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/misuse.hpp>

#include "signal_text.hpp"

namespace cistern::detail {

void precondition_failed(const char* what, unsigned long long value, const char* file, int line) noexcept {
  signal_text text;
  text.add("cistern: ").add(what).add(" (value ").add_number(value).add(") at ").add(file);
  text.add(":").add_number(static_cast<unsigned>(line));
  misuse_found(text.c_str());
}

}  // namespace cistern::detail
