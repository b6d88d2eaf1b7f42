// fork_fault: forks, and says what went wrong in the child.
#pragma once

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "sanitizers.hpp"
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::test_support {

/// ThreadSanitizer does not support threads in the child of a program with threads.
inline constexpr bool child_can_start_threads = !thread_sanitizer;

/// Forks; the child runs `in_child` and must come to its end before its alarm. Returns what went wrong.
template <class F>
std::string fork_fault(F in_child) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) {
    throw std::system_error(errno, std::generic_category(), "fork");
  }
  if (child == 0) {
    ::alarm(60);  // a lock that nobody lets go of would hang it
    in_child();
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    return "the child was killed by signal " + std::to_string(WTERMSIG(status));
  }
  return WEXITSTATUS(status) == 0 ? "" : "the child exited with " + std::to_string(WEXITSTATUS(status));
}

}  // namespace cistern::test_support
