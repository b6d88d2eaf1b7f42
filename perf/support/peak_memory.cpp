#include "support/peak_memory.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "support/keep.hpp"
#include "support/mimalloc_resource.hpp"
#include <sys/wait.h>
#include <unistd.h>

namespace perf {
namespace {

[[noreturn]] void become(const workload& what, const contestant& who, int output) {
  const std::string who_name(who.name);
  const char* const arguments[] = {"compare", "--peak-memory-of", what.name.c_str(), who_name.c_str(),
                                   nullptr};
  ::dup2(output, STDOUT_FILENO);
  ::execv("/proc/self/exe", const_cast<char* const*>(arguments));
  ::_exit(127);
}

std::string read_all(int input) {
  std::string text;
  char part[256];
  for (ssize_t got = 0; (got = ::read(input, part, sizeof part)) > 0;) {
    text.append(part, static_cast<std::size_t>(got));
  }
  return text;
}

peak_memory run_child(const workload& what, const contestant& who) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    ::close(ends[0]);
    become(what, who, ends[1]);
  }
  ::close(ends[1]);
  const std::string answer = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  peak_memory peak;
  if (status != 0 || std::sscanf(answer.c_str(), "%zu %zu", &peak.peak_bytes, &peak.growth_bytes) != 2) {
    throw std::runtime_error("measuring the memory of " + what.name + " under " + std::string(who.name) +
                             " failed");
  }
  return peak;
}

std::size_t middle(std::vector<std::size_t> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

std::size_t resident_peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  throw std::runtime_error("/proc/self/status has no line VmHWM");
}

peak_memory peak_memory_here(const workload& what, const contestant& who) {
  static_cast<void>(mimalloc_version());  // loaded for everyone, so that its code is in everyone's figure
  const std::size_t before = resident_peak_bytes();
  {
    const auto resource = who.make(what.one_block_bytes);
    static_cast<void>(what.run(hide(resource.get()), what.memory_repetitions));
  }
  const std::size_t after = resident_peak_bytes();
  return {after, after - before};
}

peak_memory peak_memory_in_child(const workload& what, const contestant& who, std::size_t runs) {
  std::vector<std::size_t> peaks;
  std::vector<std::size_t> growths;
  for (std::size_t run = 0; run < runs; ++run) {
    const peak_memory one = run_child(what, who);
    peaks.push_back(one.peak_bytes);
    growths.push_back(one.growth_bytes);
  }
  return {middle(std::move(peaks)), middle(std::move(growths))};
}

}  // namespace perf
