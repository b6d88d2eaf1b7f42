#include "support/trace_workloads.hpp"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>

#include "support/allocation_script.hpp"
#include "support/keep.hpp"

namespace perf {
namespace {

workload replay(const std::filesystem::path& trace) {
  const auto script = std::make_shared<std::optional<allocation_script>>();
  return {.name = "replay/" + trace.stem().string(),
          .operation = "allocate + deallocate",
          .group = "replays",
          .net = true,
          .run =
              [script](std::pmr::memory_resource* resource, std::size_t repetitions) {
                return time_repetitions(repetitions, (*script)->allocations(),
                                        [&] { (*script)->replay(resource); });
              },
          .hold =
              [script](const resource_maker& make, const settled_hook& settled) {
                const auto resource = make();
                (*script)->replay_and_fill(hide(resource.get()));
                settled(resource.get());
              },
          .prepare =
              [script, trace] {
                if (!script->has_value()) script->emplace(trace);
              },
          .asked_bytes = [script] { return (*script)->peak_bytes(); }};
}

}  // namespace

std::vector<workload> trace_workloads(const std::string& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> traces;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".trace") traces.push_back(entry.path());
  }
  if (error) throw std::runtime_error("can't read the folder " + folder + ": " + error.message());
  if (traces.empty()) throw std::runtime_error("no file in " + folder + " is called NAME.trace");
  std::sort(traces.begin(), traces.end());
  std::vector<workload> all;
  for (const std::filesystem::path& trace : traces) all.push_back(replay(trace));
  return all;
}

}  // namespace perf
