// broken_invariant: what `check_invariants` does about one that doesn't hold.
#pragma once

#include <cistern/detail/base/misuse.hpp>

#include <cstddef>

#include "../base/signal_text.hpp"

namespace cistern::detail {

/// Ends as a misuse does. `block_bytes`: of the class that it is about, or 0.
[[noreturn]] inline void broken_invariant(const char* where, std::size_t block_bytes,
                                          const char* what) noexcept {
  signal_text text;
  text.add("cistern: ").add(where);
  if (block_bytes != 0) {
    text.add(" of ").add_bytes(block_bytes);
  }
  text.add(": ").add(what);
  misuse_found(text.c_str());
}

}  // namespace cistern::detail
