#include "record_file.hpp"

#include <cistern/detail/base/no_cancellation.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>

#include "../base/posix_call.hpp"
#include "../base/signal_hold.hpp"
#include "../trace/trace_format.hpp"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cistern::detail {
namespace {

constexpr std::size_t end_mark_bytes = trace_frame_header_bytes + trace_end_mark_bytes;

/// By the system call: the C library's function is a cancellation point.
void close_file(int descriptor) noexcept {
  ::syscall(SYS_close, descriptor);
}

/// The same file by a number that programs don't use on their own.
[[nodiscard]] int moved_away(int descriptor) noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return descriptor;
  const auto most = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1024));
  const int moved = ::fcntl(descriptor, F_DUPFD_CLOEXEC, std::max(most - 32, 3));
  if (moved < 0) return descriptor;
  close_file(descriptor);
  return moved;
}

}  // namespace

bool record_file::begin(int descriptor, bytes header, std::uint64_t max_bytes) noexcept {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return false;
  descriptor_ = moved_away(descriptor);
  device_ = status.st_dev;
  node_ = status.st_ino;
  max_bytes_ = max_bytes;
  now_ = before_ = {.offset_bytes = header.size(), .records = 0};
  if (const int error = write_at(0, header); error != 0) {
    abandon();
    errno = error;
    return false;
  }
  return true;
}

/// The program may have closed the descriptor, and opened something else that has its number now.
bool record_file::is_ours() const noexcept {
  struct stat status {};
  return descriptor_ >= 0 && ::fstat(descriptor_, &status) == 0 && status.st_dev == device_ &&
         status.st_ino == node_;
}

/// 0, or the number of an error.
int record_file::write_at(std::uint64_t offset_bytes, bytes what) const noexcept {
  const no_cancellation until_all_is_written;
  const signal_hold of_large_files(SIGXFSZ);
  while (!what.empty()) {
    const ssize_t written = without_interruption(
        [&] { return ::pwrite(descriptor_, what.data(), what.size(), static_cast<off_t>(offset_bytes)); });
    if (written == 0) return ENOSPC;
    if (written < 0) {
      if (errno == EFBIG) of_large_files.take_own();
      return errno;
    }
    what = what.subspan(static_cast<std::size_t>(written));
    offset_bytes += static_cast<std::uint64_t>(written);
  }
  return 0;
}

/// 0, or the number of an error. What was there before is written over first: a full disk has room for that,
/// but perhaps not for what is cut off and written anew.
int record_file::end_at(const place& where, trace_ending ending, int error) noexcept {
  const int refused = write_at(where.offset_bytes, encode_end_mark(where.records, ending, error));
  if (refused != 0) return refused;
  return ::ftruncate(descriptor_, static_cast<off_t>(where.offset_bytes + end_mark_bytes)) == 0 ? 0 : errno;
}

/// Without room for the end mark, it takes the place of the last round.
bool record_file::end(trace_ending ending, int error) noexcept {
  const int refused = end_at(now_, ending, error);
  if (refused == 0) return true;
  (void)end_at(before_, trace_ending::write_error, error != 0 ? error : refused);
  return false;
}

std::uint64_t record_file::room_bytes() const noexcept {
  if (max_bytes_ == 0) return UINT64_MAX;
  const std::uint64_t taken_bytes = now_.offset_bytes + end_mark_bytes;
  return max_bytes_ - std::min(taken_bytes, max_bytes_);
}

bool record_file::append(std::span<const bytes> frames, std::uint64_t records) noexcept {
  if (!is_ours()) {
    descriptor_ = -1;
    return false;
  }
  std::uint64_t round_bytes = 0;
  for (const bytes& frame : frames) round_bytes += frame.size();
  if (round_bytes > room_bytes()) {
    (void)end(trace_ending::size_limit, 0);
    abandon();
    return false;
  }
  std::uint64_t at_bytes = now_.offset_bytes;
  for (const bytes& frame : frames) {
    if (const int error = write_at(at_bytes, frame); error != 0) {
      (void)end(trace_ending::write_error, error);
      abandon();
      return false;
    }
    at_bytes += frame.size();
  }
  before_ = now_;
  now_ = {.offset_bytes = now_.offset_bytes + round_bytes, .records = now_.records + records};
  return true;
}

void record_file::mark_end() noexcept {
  if (!is_ours()) return;
  if (!end(trace_ending::closed, 0)) abandon();
}

void record_file::abandon() noexcept {
  if (is_ours()) close_file(descriptor_);
  descriptor_ = -1;
}

}  // namespace cistern::detail
