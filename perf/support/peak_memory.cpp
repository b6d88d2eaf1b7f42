#include "support/peak_memory.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "support/keep.hpp"
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

/// The figure, given in KiB, on the line of `file` that starts with `key`.
std::size_t proc_bytes(const char* file, const std::string& key) {
  std::ifstream input(file);
  for (std::string line; std::getline(input, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size())) * 1024;
  }
  throw std::runtime_error(std::string(file) + " has no line " + key);
}

/// Makes the high-water mark what is resident now. Throws `std::runtime_error` if the system doesn't let us.
void forget_resident_peak() {
  std::ofstream("/proc/self/clear_refs") << "5" << std::flush;
  // Where the write was refused, or did nothing, the mark is far above.
  if (resident_peak_bytes() > resident_bytes() + (std::size_t{4} << 20)) {
    throw std::runtime_error(
        "the kernel doesn't forget the peak of the resident set (/proc/self/clear_refs)");
  }
}

/// Nobody looks at the time.
class silent_reporter : public benchmark::BenchmarkReporter {
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

/// Calls `work` as a benchmark of so many iterations.
void do_fixed_work(std::int64_t operations, const std::function<void(benchmark::State&)>& work) {
  benchmark::RegisterBenchmark("fixed", work)->Iterations(operations);
  silent_reporter silent;
  benchmark::RunSpecifiedBenchmarks(&silent, nullptr, "fixed");
}

/// What was resident when it was made, and how much more it has been since.
class growth {
 public:
  growth() {
    ::malloc_trim(0);  // what is only kept for later would hide the first of what is needed
    forget_resident_peak();
    before_ = resident_bytes();
    peak_before_ = resident_peak_bytes();
  }
  [[nodiscard]] std::size_t peak_bytes() const { return resident_peak_bytes() - peak_before_; }
  [[nodiscard]] std::size_t bytes() const { return std::max(resident_bytes(), before_) - before_; }

 private:
  std::size_t peak_before_ = 0;
  std::size_t before_ = 0;
};

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

peak_memory peak_memory_here(const workload& what, const contestant& who) {
  if (what.prepare != nullptr) what.prepare();
  peak_memory taken;
  if (what.live_bytes != nullptr) taken.live_bytes = what.live_bytes();
  const resource_maker make = [&] { return who.make(what.one_block_bytes); };
  const auto keep_account = [&](std::pmr::memory_resource& resource) {
    if (who.keeps != nullptr) taken.kept = who.keeps(resource);
  };
  if (what.hold != nullptr) {
    const growth grown;
    what.hold(make, [&](std::pmr::memory_resource* resource) {
      if (resource != nullptr) {
        keep_account(*resource);
        who.give_back(*resource);
      }
      taken.held_bytes = grown.bytes();
    });
    taken.peak_bytes = grown.peak_bytes();
  } else {
    do_fixed_work(what.memory_operations, [&](benchmark::State& state) {
      const growth grown;
      const auto resource = make();
      what.run(state, hide(resource.get()));
      keep_account(*resource);
      taken.peak_bytes = grown.peak_bytes();
    });
  }
  return taken;
}

void print(const peak_memory& taken) {
  std::printf("%zu %zu %zu %llu %zu\n", taken.peak_bytes, taken.held_bytes, taken.live_bytes,
              static_cast<unsigned long long>(taken.kept.upstream_calls), taken.kept.upstream_bytes);
}

peak_memory peak_memory_in_child(const std::vector<std::string>& arguments) {
  peak_memory taken;
  unsigned long long calls = 0;
  const std::string answer = output_of_this_program(arguments);
  if (std::sscanf(answer.c_str(), "%zu %zu %zu %llu %zu", &taken.peak_bytes, &taken.held_bytes,
                  &taken.live_bytes, &calls, &taken.kept.upstream_bytes) != 5) {
    throw std::runtime_error("no peak memory in \"" + answer + '"');
  }
  taken.kept.upstream_calls = calls;
  return taken;
}

}  // namespace perf
