// misuse_handler: what happens where the library finds that it was used wrongly.
#pragma once

#include <cistern/detail/base/abi.hpp>

namespace cistern {

/// Gets one line, which begins with "cistern:" and says what was done wrong, to which address, with which
/// values. It runs where the misuse was found, which may be inside `free`, under locks of the library, or in
/// a signal handler: so it should write the line somewhere and end the process, and neither allocate nor call
/// the library. Where it returns, the process is aborted.
using misuse_handler = void (*)(const char* text) noexcept;

/// Every misuse that this copy of the library finds goes to `handler` from now on, and so does what the heap
/// under `malloc` and global `new` finds, if the process has ours. Null stands for what happens where nobody
/// calls this: the line goes to stderr. Returns the handler before, or null. Thread-safe.
misuse_handler set_misuse_handler(misuse_handler handler) noexcept;

}  // namespace cistern
