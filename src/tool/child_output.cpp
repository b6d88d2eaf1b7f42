#include "child_output.hpp"

#include <cerrno>
#include <system_error>

#include "../base/posix_call.hpp"
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::tool {
namespace {

constexpr int not_run = 127;

[[nodiscard]] std::string all_from(int input) {
  std::string text;
  char part[4096];
  for (;;) {
    const ssize_t got = detail::without_interruption([&] { return ::read(input, part, sizeof part); });
    if (got <= 0) return text;
    text.append(part, static_cast<std::size_t>(got));
  }
}

}  // namespace

child_output output_of_child(const std::function<void(int output)>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const pid_t child = ::fork();
  if (child < 0) {
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    throw std::system_error(error, std::generic_category(), "fork");
  }
  if (child == 0) {
    work(ends[1]);
    ::_exit(not_run);
  }
  ::close(ends[1]);
  child_output output{.text = all_from(ends[0])};
  ::close(ends[0]);
  if (detail::without_interruption([&]() -> ssize_t { return ::waitpid(child, &output.status, 0); }) < 0) {
    throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  return output;
}

}  // namespace cistern::tool
