#include "support/peak_memory.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/keep.hpp"
#include "support/process.hpp"
#include <malloc.h>

namespace perf {
namespace {

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
      taken.left_bytes = grown.bytes();
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
  std::printf("%zu %zu %zu %zu %llu %zu\n", taken.peak_bytes, taken.left_bytes, taken.held_bytes,
              taken.live_bytes, static_cast<unsigned long long>(taken.kept.upstream_calls),
              taken.kept.upstream_bytes);
}

peak_memory peak_memory_in_child(const std::vector<std::string>& arguments) {
  peak_memory taken;
  unsigned long long calls = 0;
  const std::string answer = output_of_this_program(arguments);
  if (std::sscanf(answer.c_str(), "%zu %zu %zu %zu %llu %zu", &taken.peak_bytes, &taken.left_bytes,
                  &taken.held_bytes, &taken.live_bytes, &calls, &taken.kept.upstream_bytes) != 6) {
    throw std::runtime_error("no peak memory in \"" + answer + '"');
  }
  taken.kept.upstream_calls = calls;
  return taken;
}

}  // namespace perf
