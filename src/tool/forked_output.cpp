#include "forked_output.hpp"

#include <cerrno>
#include <exception>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "../base/posix_call.hpp"
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::tool {
namespace {

[[noreturn]] void do_work(int output, const std::function<void(std::ostream&)>& work) {
  try {
    std::ostringstream text;
    work(text);
    const std::string all = text.str();
    for (std::size_t done = 0; done < all.size();) {
      const ssize_t put =
          detail::without_interruption([&] { return ::write(output, all.data() + done, all.size() - done); });
      if (put < 0) ::_exit(1);
      done += static_cast<std::size_t>(put);
    }
    ::_exit(0);
  } catch (const std::exception& error) {
    std::cerr << "cistern-trace: " << error.what() << '\n';
  }
  ::_exit(1);
}

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

std::string forked_output(const std::function<void(std::ostream&)>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const pid_t child = ::fork();
  if (child < 0) {
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    throw std::system_error(error, std::generic_category(), "fork");
  }
  if (child == 0) do_work(ends[1], work);
  ::close(ends[1]);
  std::string text = all_from(ends[0]);
  ::close(ends[0]);
  int status = 0;
  (void)detail::without_interruption([&]() -> ssize_t { return ::waitpid(child, &status, 0); });
  if (status != 0) throw std::runtime_error("a process that was to measure has failed");
  return text;
}

}  // namespace cistern::tool
