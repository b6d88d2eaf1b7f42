#include <cistern/detail/base/assert.hpp>

#include <cstdio>
#include <cstdlib>

namespace cistern::detail {

void precondition_failed(const char* what, unsigned long long value, const char* file, int line) noexcept {
  std::fprintf(stderr, "cistern: %s (value %llu) at %s:%d\n", what, value, file, line);
  std::abort();
}

}  // namespace cistern::detail
