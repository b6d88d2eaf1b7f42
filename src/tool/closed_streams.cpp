#include "closed_streams.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

namespace cistern::tool {

void open_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    // For the other direction; it gets the lowest number that is free, which is this one.
    const int direction = stream == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (::open("/dev/null", direction | O_CLOEXEC) < 0) {
      throw std::system_error(errno, std::generic_category(), "cannot open /dev/null");
    }
  }
}

}  // namespace cistern::tool
