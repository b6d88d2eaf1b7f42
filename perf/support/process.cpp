#include "support/process.hpp"

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <system_error>

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

/// For the shell.
std::string quoted(const std::string& argument) {
  std::string text = "'";
  for (const char each : argument) text += each == '\'' ? std::string("'\\''") : std::string(1, each);
  return text + '\'';
}

}  // namespace

std::size_t resident_peak_bytes() {
  return bytes_in("/proc/self/status", "VmHWM:");
}

std::size_t resident_bytes() {
  // Exact, unlike /proc/self/status, where the kernel's per-processor counters may not be summed up yet.
  return bytes_in("/proc/self/smaps_rollup", "Rss:");
}

std::string output_of(const std::string& program, const std::vector<std::string>& arguments) {
  std::string command = quoted(program);
  for (const std::string& argument : arguments) command += ' ' + quoted(argument);
  std::FILE* const output = ::popen(command.c_str(), "r");
  if (output == nullptr) throw std::system_error(errno, std::generic_category(), command);
  std::string text;
  for (int next = 0; (next = std::fgetc(output)) != EOF;) text += static_cast<char>(next);
  if (::pclose(output) != 0) throw std::runtime_error(command + " failed");
  return text;
}

std::string output_of_this_program(const std::vector<std::string>& arguments) {
  // Not by its name: that may be another program's by now.
  return output_of("/proc/" + std::to_string(::getpid()) + "/exe", arguments);
}

}  // namespace perf
