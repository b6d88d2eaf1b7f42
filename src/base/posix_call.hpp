// without_interruption: repeats a POSIX call that a signal interrupted.
#pragma once

#include <cerrno>

#include <sys/types.h>

namespace cistern::detail {

/// Calls `call` until it returns anything but -1 with EINTR.
template <class Call>
ssize_t without_interruption(Call call) {
  for (;;) {
    const ssize_t result = call();
    if (result >= 0 || errno != EINTR) {
      return result;
    }
  }
}

}  // namespace cistern::detail
