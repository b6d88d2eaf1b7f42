#include "descriptor.hpp"

#include <cistern/detail/base/errno_keeper.hpp>
#include <cistern/detail/base/no_cancellation.hpp>

#include <atomic>
#include <cerrno>
#include <climits>

#include "../base/posix_call.hpp"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cistern::detail {
namespace {

constexpr int rwf_nosignal = 0x100;  // RWF_NOSIGNAL, since Linux 6.18; older headers don't know it

/// Whether a write to a file may raise SIGXFSZ. One call, where to block the signal takes two.
bool file_sizes_are_limited() noexcept {
  rlimit limit{};
  return ::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY;
}

}  // namespace

// --- one try each: none of these waits where that can be helped ---

ssize_t descriptor::try_read(std::span<std::byte> room) const noexcept {
  switch (kind_) {
    case kind::socket:
      return ::recv(number_, room.data(), room.size(), MSG_DONTWAIT);
    case kind::pipe: {
      const iovec piece{room.data(), room.size()};
      return ::preadv2(number_, &piece, 1, -1, RWF_NOWAIT);
    }
    default:
      return ::read(number_, room.data(), room.size());
  }
}

ssize_t descriptor::try_write(std::span<const iovec> pieces) noexcept {
  if (kind_ == kind::socket) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    return ::sendmsg(number_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  return kind_ == kind::plain ? try_file(pieces) : try_pipe(pieces);
}

ssize_t descriptor::try_file(std::span<const iovec> pieces) noexcept {
  if (!no_signal_ && file_sizes_are_limited()) {
    no_signal_.emplace(SIGXFSZ);
  }
  const ssize_t written = ::writev(number_, pieces.data(), static_cast<int>(pieces.size()));
  if (written < 0 && errno == EFBIG && no_signal_) {
    no_signal_->take_own();
  }
  return written;
}

ssize_t descriptor::try_pipe(std::span<const iovec> pieces) noexcept {
  const auto count = static_cast<int>(pieces.size());
  static std::atomic<bool> no_signal_flag{true};  // relaxed: a kernel has it or not, whoever finds out
  if (kind_ == kind::pipe && no_signal_flag.load(std::memory_order_relaxed)) {
    const ssize_t written = ::pwritev2(number_, pieces.data(), count, -1, RWF_NOWAIT | rwf_nosignal);
    if (written >= 0 || errno != EOPNOTSUPP) {
      return written;
    }
    no_signal_flag.store(false, std::memory_order_relaxed);
  }
  if (!no_signal_) {
    no_signal_.emplace(SIGPIPE);
  }
  const ssize_t written = kind_ == kind::pipe ? ::pwritev2(number_, pieces.data(), count, -1, RWF_NOWAIT)
                                              : ::writev(number_, pieces.data(), count);
  if (written < 0 && errno == EPIPE) {
    no_signal_->take_own();
  }
  return written;
}

// --- tries and waits, until it is done ---

template <class Try>
ssize_t descriptor::complete(short event, const Try& attempt) {
  for (;;) {
    ::pthread_testcancel();
    if (kind_ == kind::device && waits() && !wait_for(event)) {
      return -1;
    }
    ssize_t count = 0;
    {
      const no_cancellation until_it_is_counted;
      count = attempt();
    }
    if (count >= 0) {
      return count;
    }
    const bool again = errno == EINTR || learns_kind(errno, event) ||
                       ((errno == EAGAIN || errno == EWOULDBLOCK) && waits() && wait_for(event));
    if (!again) {
      return -1;
    }
  }
}

ssize_t descriptor::read(std::span<std::byte> room) {
  return complete(POLLIN, [&] { return try_read(room); });
}

ssize_t descriptor::write(std::span<const iovec> pieces) {
  return complete(POLLOUT, [&] { return try_write(pieces); });
}

bool descriptor::has_ended() {
  char probe = 0;
  if (kind_ == kind::socket) {
    // May wait and be cancelled: looking takes nothing.
    const ssize_t count = without_interruption([&] { return ::recv(number_, &probe, 1, MSG_PEEK); });
    if (count >= 0 || !learns_kind(errno, POLLIN)) {
      return count == 0;  // an error is for the read to meet again
    }
  }
  if (kind_ != kind::plain) {
    return false;
  }
  const off_t position = ::lseek(number_, 0, SEEK_CUR);
  return position >= 0 && without_interruption([&] { return ::pread(number_, &probe, 1, position); }) == 0;
}

/// Whether `error` says that the descriptor is of another kind than thought; then what it is.
bool descriptor::learns_kind(int error, short event) {
  if (kind_ == kind::socket && error == ENOTSOCK) {
    struct stat status {};
    if (::fstat(number_, &status) != 0) {
      return false;
    }
    const bool waits_for_nobody =
        S_ISREG(status.st_mode) || S_ISBLK(status.st_mode) || S_ISDIR(status.st_mode) || event == POLLOUT;
    kind_ = S_ISFIFO(status.st_mode) ? kind::pipe : waits_for_nobody ? kind::plain : kind::device;
    return true;
  }
  if (kind_ == kind::pipe && error == EOPNOTSUPP) {
    kind_ = kind::device;
    return true;
  }
  return false;
}

/// Whether the descriptor is a blocking one.
bool descriptor::waits() {
  if (!waits_) {
    const errno_keeper error;
    const int flags = ::fcntl(number_, F_GETFL);
    waits_ = flags >= 0 && (flags & O_NONBLOCK) == 0;
  }
  return *waits_;
}

/// Waits until the descriptor is ready, as long as it would itself; false, with `errno`, if it isn't by then.
bool descriptor::wait_for(short event) {
  int milliseconds = -1;
  if (kind_ == kind::socket) {
    timeval limit{};
    socklen_t size = sizeof limit;
    ::getsockopt(number_, SOL_SOCKET, event == POLLIN ? SO_RCVTIMEO : SO_SNDTIMEO, &limit, &size);
    if (limit.tv_sec != 0 || limit.tv_usec != 0) {
      const auto wanted = static_cast<long long>(limit.tv_sec) * 1'000 + (limit.tv_usec + 999) / 1'000;
      milliseconds = static_cast<int>(wanted < INT_MAX ? wanted : INT_MAX);
    }
  }
  pollfd ready{number_, event, 0};
  const ssize_t count = without_interruption([&] { return ssize_t{::poll(&ready, 1, milliseconds)}; });
  if (count == 0) {
    errno = EAGAIN;
  }
  return count > 0;
}

}  // namespace cistern::detail
