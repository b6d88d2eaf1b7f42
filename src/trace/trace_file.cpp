#include "trace_file.hpp"

#include <cistern/detail/base/no_cancellation.hpp>

#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

#include "../base/posix_call.hpp"
#include "../base/signal_hold.hpp"
#include <fcntl.h>
#include <unistd.h>

namespace cistern::detail {

trace_file::trace_file(const std::filesystem::path& path, int flags)
    : path_(path),
      fd_(static_cast<int>(
          without_interruption([&]() -> ssize_t { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); }))) {
  if (fd_ < 0) fail("cannot open ");
}

trace_file::~trace_file() {
  const no_cancellation in_a_destructor;
  if (fd_ >= 0) ::close(fd_);
}

void trace_file::write(std::span<const std::byte> bytes) const {
  const no_cancellation until_all_is_written;
  // Who is recorded needn't know of pipes, and of the largest size that a file may have.
  const signal_hold of_pipes(SIGPIPE);
  const signal_hold of_large_files(SIGXFSZ);
  while (!bytes.empty()) {
    const ssize_t written = without_interruption([&] { return ::write(fd_, bytes.data(), bytes.size()); });
    if (written == 0) errno = EIO;  // else this would go on for ever
    if (written <= 0) {
      if (errno == EPIPE) of_pipes.take_own();
      if (errno == EFBIG) of_large_files.take_own();
      fail("cannot write ");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

std::size_t trace_file::read(std::span<std::byte> into) const {
  const no_cancellation until_it_is_counted;
  const ssize_t got = without_interruption([&] { return ::read(fd_, into.data(), into.size()); });
  if (got < 0) fail("cannot read ");
  return static_cast<std::size_t>(got);
}

// Whatever it says, the descriptor is gone on Linux: it isn't tried again, not where it was interrupted
// either.
void trace_file::close() {
  const no_cancellation until_it_is_closed;
  if (fd_ >= 0 && ::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail("cannot write ");
}

void trace_file::fail(const char* what) const {
  const int error = errno;
  throw std::system_error(error, std::generic_category(), what + path_.string());
}

}  // namespace cistern::detail
