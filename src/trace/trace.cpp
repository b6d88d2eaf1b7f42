#include <cistern/adaptor/trace.hpp>
#include <cistern/detail/base/no_cancellation.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <istream>
#include <memory>
#include <ostream>
#include <system_error>

#include "../base/posix_call.hpp"
#include "../base/signal_hold.hpp"
#include <fcntl.h>
#include <unistd.h>

namespace cistern {
namespace {

/// An open file that knows its name for messages.
class trace_file {
 public:
  trace_file(const std::filesystem::path& path, int flags)
      : path_(path), fd_(static_cast<int>(detail::without_interruption([&]() -> ssize_t {
          return ::open(path.c_str(), flags | O_CLOEXEC, 0666);
        }))) {
    if (fd_ < 0) fail("cannot open ");
  }
  trace_file(const trace_file&) = delete;
  trace_file& operator=(const trace_file&) = delete;
  ~trace_file() {
    const detail::no_cancellation in_a_destructor;
    ::close(fd_);
  }

  void write(std::span<const std::byte> bytes) const {
    const detail::no_cancellation until_all_is_written;
    // Who is recorded needn't know of pipes, and of the largest size that a file may have.
    const detail::signal_hold of_pipes(SIGPIPE);
    const detail::signal_hold of_large_files(SIGXFSZ);
    while (!bytes.empty()) {
      const ssize_t written =
          detail::without_interruption([&] { return ::write(fd_, bytes.data(), bytes.size()); });
      if (written == 0) errno = EIO;  // else this would go on for ever
      if (written <= 0) {
        if (errno == EPIPE) of_pipes.take_own();
        if (errno == EFBIG) of_large_files.take_own();
        fail("cannot write ");
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  [[nodiscard]] std::size_t read(std::span<std::byte> into) const {
    const detail::no_cancellation until_it_is_counted;
    const ssize_t got = detail::without_interruption([&] { return ::read(fd_, into.data(), into.size()); });
    if (got < 0) fail("cannot read ");
    return static_cast<std::size_t>(got);
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    const int error = errno;
    throw std::system_error(error, std::generic_category(), what + path_.string());
  }

  std::filesystem::path path_;
  int fd_;
};

[[nodiscard]] std::string message(trace_fault fault, const std::string& found, std::uint64_t offset_bytes) {
  return std::string("cistern trace: ") + to_string(fault) + ": " + found + " at byte " +
         std::to_string(offset_bytes);
}

}  // namespace

const char* to_string(trace_call call) noexcept {
  switch (call) {
    case trace_call::allocate:
      return "allocate";
    case trace_call::deallocate:
      return "deallocate";
    case trace_call::failed_allocate:
      return "failed_allocate";
    case trace_call::reallocate:
      return "reallocate";
  }
  return "unknown call";
}

const char* to_string(trace_ending ending) noexcept {
  switch (ending) {
    case trace_ending::closed:
      return "closed";
    case trace_ending::size_limit:
      return "size limit";
    case trace_ending::write_error:
      return "write error";
  }
  return "unknown ending";
}

const char* to_string(trace_fault fault) noexcept {
  switch (fault) {
    case trace_fault::not_a_trace:
      return "not a trace";
    case trace_fault::unknown_version:
      return "unknown version";
    case trace_fault::truncated:
      return "truncated";
    case trace_fault::corrupt:
      return "corrupt";
  }
  return "unknown fault";
}

trace_error::trace_error(trace_fault fault, const std::string& found, std::uint64_t offset_bytes)
    : std::runtime_error(message(fault, found, offset_bytes)), fault_(fault), offset_bytes_(offset_bytes) {}

trace_sink trace_to_file(const std::filesystem::path& path) {
  return [file = std::make_shared<trace_file>(path, O_WRONLY | O_CREAT | O_TRUNC)](
             std::span<const std::byte> bytes) { file->write(bytes); };
}

trace_sink trace_to_stream(std::ostream& out) {
  return [&out](std::span<const std::byte> bytes) {
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) throw std::ios_base::failure("cannot write the trace");
  };
}

trace_source trace_from_file(const std::filesystem::path& path) {
  return [file = std::make_shared<trace_file>(path, O_RDONLY)](std::span<std::byte> into) {
    return file->read(into);
  };
}

trace_source trace_from_stream(std::istream& in) {
  return [&in](std::span<std::byte> into) {
    if (in.eof()) return std::size_t{0};
    in.read(reinterpret_cast<char*>(into.data()), static_cast<std::streamsize>(into.size()));
    if (in.bad() || (in.fail() && !in.eof())) throw std::ios_base::failure("cannot read the trace");
    return static_cast<std::size_t>(in.gcount());
  };
}

trace_source trace_from_memory(std::span<const std::byte> trace) {
  return [left = trace](std::span<std::byte> into) mutable {
    const std::size_t bytes = std::min(left.size(), into.size());
    if (bytes != 0) std::memcpy(into.data(), left.data(), bytes);
    left = left.subspan(bytes);
    return bytes;
  };
}

}  // namespace cistern
