#include "support/peak_memory.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "support/measure.hpp"
#include "support/mimalloc_resource.hpp"
#include "support/snmalloc_resource.hpp"
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

namespace perf {
namespace {

[[noreturn]] void become(const std::vector<std::string>& arguments, int output) {
  std::vector<char*> pointers{const_cast<char*>("again")};
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  ::dup2(output, STDOUT_FILENO);
  ::execv("/proc/self/exe", pointers.data());
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

std::size_t middle(std::vector<std::size_t> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// The figure, given in KiB, on the line of `file` that starts with `key`.
std::size_t proc_bytes(const char* file, const std::string& key) {
  std::ifstream input(file);
  for (std::string line; std::getline(input, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size())) * 1024;
  }
  throw std::runtime_error(std::string(file) + " has no line " + key);
}

/// For everyone, so that their code is in everyone's figure.
void load_peers() {
  static_cast<void>(mimalloc_version());
  if (mimalloc_named()) static_cast<void>(mimalloc_found_version());
  if (snmalloc_named()) static_cast<void>(snmalloc_resource());
}

}  // namespace

std::size_t resident_peak_bytes() {
  return proc_bytes("/proc/self/status", "VmHWM:");
}

std::size_t resident_bytes() {
  // Exact, unlike /proc/self/status, where the kernel's per-processor counters may not be summed up yet.
  return proc_bytes("/proc/self/smaps_rollup", "Rss:");
}

std::string output_of_this_program(const std::vector<std::string>& arguments) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    ::close(ends[0]);
    become(arguments, ends[1]);
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

void forget_resident_peak() {
  std::ofstream("/proc/self/clear_refs") << "5" << std::flush;
  // Where the write was refused, or did nothing, the mark is far above.
  if (resident_peak_bytes() > resident_bytes() + (std::size_t{4} << 20)) {
    throw std::runtime_error(
        "the kernel doesn't forget the peak of the resident set (/proc/self/clear_refs)");
  }
}

peak_memory peak_memory_here(const workload& what, const contestant& who) {
  load_peers();
  if (what.prepare != nullptr) {
    what.prepare();
    ::malloc_trim(0);
    forget_resident_peak();  // what was read may have taken more for a moment
  }
  const std::size_t before = resident_peak_bytes();
  const std::size_t resident_before = resident_bytes();
  std::size_t held = 0;
  if (what.hold != nullptr) {
    what.hold([&] { return who.make(what.one_block_bytes); },
              [&](std::pmr::memory_resource* resource) {
                if (resource != nullptr) who.give_back(*resource);
                held = resident_bytes();
              });
  } else {
    static_cast<void>(run_once(what, who, what.memory_repetitions));
  }
  const std::size_t after = resident_peak_bytes();
  return {after, after - before, held - std::min(held, resident_before)};
}

peak_memory peak_memory_in_child(const workload& what, const contestant& who, std::size_t runs,
                                 std::vector<std::string> arguments) {
  std::vector<std::size_t> peaks;
  std::vector<std::size_t> growths;
  std::vector<std::size_t> held;
  arguments.insert(arguments.end(), {"--peak-memory-of", what.name, std::string(who.name)});
  for (std::size_t run = 0; run < runs; ++run) {
    peak_memory one;
    const std::string answer = output_of_this_program(arguments);
    if (std::sscanf(answer.c_str(), "%zu %zu %zu", &one.peak_bytes, &one.growth_bytes, &one.held_bytes) !=
        3) {
      throw std::runtime_error("no peak memory in \"" + answer + '"');
    }
    peaks.push_back(one.peak_bytes);
    growths.push_back(one.growth_bytes);
    held.push_back(one.held_bytes);
  }
  return {middle(std::move(peaks)), middle(std::move(growths)), middle(std::move(held))};
}

}  // namespace perf
