#include "malloc_bench/run_command.hpp"

#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <vector>

#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace malloc_bench {
namespace {

constexpr std::string_view variable = "LD_PRELOAD=";

/// This program's environment with LD_PRELOAD replaced; `setting` must outlive the result.
std::vector<char*> environment_with(std::string& setting) {
  std::vector<char*> variables;
  for (char** one = environ; *one != nullptr; ++one) {
    if (std::string_view(*one).substr(0, variable.size()) != variable) variables.push_back(*one);
  }
  if (setting.size() > variable.size()) variables.push_back(setting.data());
  variables.push_back(nullptr);
  return variables;
}

std::chrono::microseconds to_microseconds(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

rusage wait_for(pid_t child, int& state) {
  rusage usage{};
  while (wait4(child, &state, 0, &usage) == -1) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "wait4");
  }
  return usage;
}

}  // namespace

command_cost run_command(std::span<char*> command, const std::string& preload) {
  std::string setting = std::string(variable) + preload;
  const auto variables = environment_with(setting);
  std::vector<char*> arguments(command.begin(), command.end());
  arguments.push_back(nullptr);

  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  const int error = posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), variables.data());
  if (error != 0) throw std::system_error(error, std::generic_category(), arguments[0]);
  int state = 0;
  const rusage usage = wait_for(child, state);
  const auto wall = std::chrono::steady_clock::now() - start;

  return {.wall = wall,
          .user = to_microseconds(usage.ru_utime),
          .system = to_microseconds(usage.ru_stime),
          .peak_rss_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024,
          .status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state)};
}

}  // namespace malloc_bench
