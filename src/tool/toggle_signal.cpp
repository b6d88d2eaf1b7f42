#include "toggle_signal.hpp"

#include <charconv>
#include <csignal>
#include <cstring>
#include <initializer_list>
#include <system_error>

#include "usage_error.hpp"

namespace cistern::tool {
namespace {

/// 0 if there is no such signal.
[[nodiscard]] int number_of(std::string name) {
  if (name.starts_with("SIG")) name.erase(0, 3);
  const std::string real_time = "RTMIN+";
  if (name.starts_with(real_time)) {
    int more = 0;
    const char* const end = name.data() + name.size();
    const auto [last, error] = std::from_chars(name.data() + real_time.size(), end, more);
    return error == std::errc() && last == end && more >= 0 && more <= SIGRTMAX - SIGRTMIN ? SIGRTMIN + more
                                                                                           : 0;
  }
  for (int number = 1; number < SIGRTMIN; ++number) {
    const char* const known = ::sigabbrev_np(number);
    if (known != nullptr && name == known) return number;
  }
  return 0;
}

}  // namespace

int toggle_signal_from(const std::string& name) {
  const int number = number_of(name);
  for (const int other : {0, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS,
                          SIGCHLD, SIGPIPE, SIGINT, SIGQUIT}) {
    if (number == other) {
      throw usage_error("--toggle-signal takes a signal that programs may be sent, as USR2 or RTMIN+1: " +
                        name);
    }
  }
  return number;
}

std::string signal_name(int signal) {
  const char* const name = ::sigabbrev_np(signal);
  return name != nullptr ? name : std::to_string(signal);
}

}  // namespace cistern::tool
