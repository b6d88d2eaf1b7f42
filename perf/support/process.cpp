#include "support/process.hpp"

#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include <sys/wait.h>
#include <unistd.h>

namespace perf {
namespace {

/// The figure, given in KiB, on the line of `file` that starts with `key`.
std::size_t bytes_in(const char* file, const std::string& key) {
  std::ifstream input(file);
  for (std::string line; std::getline(input, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size())) * 1024;
  }
  throw std::runtime_error(std::string(file) + " has no line " + key);
}

[[noreturn]] void become(const std::vector<char*>& arguments, int output) {
  ::dup2(output, STDOUT_FILENO);
  ::execv("/proc/self/exe", arguments.data());
  ::_exit(127);
}

std::string read_all(int input) {
  std::string text;
  char part[4096];
  for (ssize_t got = 0; (got = ::read(input, part, sizeof part)) > 0;) {
    text.append(part, static_cast<std::size_t>(got));
  }
  return text;
}

}  // namespace

std::size_t resident_peak_bytes() {
  return bytes_in("/proc/self/status", "VmHWM:");
}

std::size_t resident_bytes() {
  // Exact, unlike /proc/self/status, where the kernel's per-processor counters may not be summed up yet.
  return bytes_in("/proc/self/smaps_rollup", "Rss:");
}

std::string output_of_this_program(const std::vector<std::string>& arguments) {
  std::string name = "again";
  std::vector<char*> pointers{name.data()};
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  int ends[2];
  if (::pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    ::close(ends[0]);
    become(pointers, ends[1]);
  }
  ::close(ends[1]);
  std::string answer = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) {
    std::string command;
    for (const std::string& argument : arguments) command += ' ' + argument;
    throw std::runtime_error("running this program again with" + command + " failed");
  }
  return answer;
}

}  // namespace perf
