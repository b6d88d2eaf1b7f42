// dies_saying: runs an action in a child process that must abort, and hands back what it wrote on stderr.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>
#include <system_error>
#include <utility>

#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::test_support {

/// How a child process ended.
struct death {
  bool aborted = false;     ///< By SIGABRT, as a failed assertion ends.
  std::string description;  ///< "aborted", "exited with 0", ...
  std::string stderr_text;  ///< All it wrote on stderr.
};

namespace of_a_child {

/// Never returns: runs the action and leaves without the parent's exit handlers.
[[noreturn]] inline void run_child(const std::function<void()>& action, int stderr_fd) {
  ::dup2(stderr_fd, STDERR_FILENO);
  ::close(stderr_fd);
  // Boost.Test catches these for its report, and would go on with the next test in the child.
  for (const int fatal : {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE}) std::signal(fatal, SIG_DFL);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::alarm(60);  // A child that hangs must not outlive the test.
  try {
    action();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "exception: %s\n", error.what());
    std::fflush(stderr);
    ::_exit(2);
  } catch (...) {
    ::_exit(3);
  }
  ::_exit(0);
}

[[nodiscard]] inline std::string read_all(int fd) {
  std::string text;
  char part[4096];
  for (;;) {
    const ssize_t got = ::read(fd, part, sizeof part);
    if (got > 0) {
      text.append(part, static_cast<std::size_t>(got));
    } else if (got == 0 || errno != EINTR) {
      return text;
    }
  }
}

[[nodiscard]] inline int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  return status;
}

}  // namespace of_a_child

/// Runs `action` in a forked child and waits for its end. Only the calling thread exists in the child.
[[nodiscard]] inline death run_and_die(const std::function<void()>& action) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  std::fflush(nullptr);  // Or the child would write the parent's pending output again.
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    ::close(ends[0]);
    of_a_child::run_child(action, ends[1]);
  }
  ::close(ends[1]);
  death result;
  result.stderr_text = of_a_child::read_all(ends[0]);
  ::close(ends[0]);
  const int status = of_a_child::wait_for(child);
  if (WIFSIGNALED(status)) {
    result.aborted = WTERMSIG(status) == SIGABRT;
    result.description = result.aborted ? "aborted" : "killed by signal " + std::to_string(WTERMSIG(status));
  } else {
    result.description = "exited with " + std::to_string(WEXITSTATUS(status));
  }
  return result;
}

/// Whether `action` ends a child so, as `death::description` has it, after writing a text on stderr that
/// contains `expected`. Says on stderr what happened instead when it does not.
[[nodiscard]] inline bool dies_of(const std::string& description, const std::string& expected,
                                  const std::function<void()>& action) {
  const death seen = run_and_die(action);
  const bool as_expected =
      seen.description == description && seen.stderr_text.find(expected) != std::string::npos;
  if (!as_expected) {
    std::fprintf(stderr, "expected \"%s\" saying \"%s\", but the child %s, saying \"%s\"\n",
                 description.c_str(), expected.c_str(), seen.description.c_str(), seen.stderr_text.c_str());
  }
  return as_expected;
}

/// The same of a child that aborts. For preconditions: `BOOST_TEST(dies_saying("alignment", [&] { ... }))`,
/// inside `if constexpr (cistern::detail::checked_build)`.
[[nodiscard]] inline bool dies_saying(const std::string& expected, const std::function<void()>& action) {
  return dies_of("aborted", expected, action);
}

/// In words: how `action` ended in a forked child, and what it wrote on stderr. "exited with 0" if it
/// returned.
[[nodiscard]] inline std::string ending_of(const std::function<void()>& action) {
  const death seen = run_and_die(action);
  return seen.description + (seen.stderr_text.empty() ? "" : ": " + seen.stderr_text);
}

}  // namespace cistern::test_support
