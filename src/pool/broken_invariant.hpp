// broken_invariant: what `check_invariants` does about one that doesn't hold.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace cistern::detail {

/// Aborts with a message. `block_bytes`: of the class that it is about, or 0.
[[noreturn]] inline void broken_invariant(const char* where, std::size_t block_bytes,
                                          const char* what) noexcept {
  if (block_bytes == 0) {
    std::fprintf(stderr, "cistern: %s: %s\n", where, what);
  } else {
    std::fprintf(stderr, "cistern: %s of %zu bytes: %s\n", where, block_bytes, what);
  }
  std::abort();
}

}  // namespace cistern::detail
