#include "this_program.hpp"

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "../base/posix_call.hpp"
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::tool {
namespace {

[[nodiscard]] std::string read_all(int input) {
  std::string text;
  char part[4096];
  for (;;) {
    const ssize_t got = detail::without_interruption([&] { return ::read(input, part, sizeof part); });
    if (got <= 0) return text;
    text.append(part, static_cast<std::size_t>(got));
  }
}

}  // namespace

void become_this_program(const std::vector<std::string>& arguments) noexcept {
  std::vector<char*> pointers{const_cast<char*>("cistern-trace")};
  for (const std::string& each : arguments) pointers.push_back(const_cast<char*>(each.c_str()));
  pointers.push_back(nullptr);
  ::execv("/proc/self/exe", pointers.data());
}

std::string output_of_this_program(const std::vector<std::string>& arguments) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    become_this_program(arguments);
    ::_exit(127);
  }
  ::close(ends[1]);
  std::string output = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  if (status != 0) {
    throw std::runtime_error("the process that was to measure memory " +
                             (WIFSIGNALED(status) ? "was ended by signal " + std::to_string(WTERMSIG(status))
                                                  : "failed with " + std::to_string(WEXITSTATUS(status))));
  }
  return output;
}

}  // namespace cistern::tool
