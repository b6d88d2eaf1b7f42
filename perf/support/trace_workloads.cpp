#include "support/trace_workloads.hpp"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <new>
#include <stdexcept>

#include "../../src/tool/compressed_trace.hpp"
#include "../../src/trace/script_player.hpp"
#include "support/keep.hpp"

namespace perf {
namespace {

using cistern::detail::play_options;
using cistern::detail::play_way;
using cistern::detail::replay_script;

/// All threads' calls on one, in the order in which they were recorded.
replay_script script_of(const std::filesystem::path& trace) {
  cistern::trace_reader reader(cistern::tool::decompressed(cistern::trace_from_file(trace)));
  replay_script script = cistern::detail::make_replay_script(reader, {.one_thread = true});
  if (script.cut) throw *script.cut;
  if (script.allocations == 0) throw std::runtime_error(trace.string() + " has no allocation");
  return script;
}

struct prepared_replay {
  explicit prepared_replay(const std::filesystem::path& trace) : script(script_of(trace)), player(script) {}

  void play(std::pmr::memory_resource* resource, const play_options& options = {}) {
    if (player.play(*resource, options).refused != 0) throw std::bad_alloc();
  }

  replay_script script;
  cistern::detail::script_player player;
};

workload replay(const std::filesystem::path& trace) {
  const auto prepared = std::make_shared<std::unique_ptr<prepared_replay>>();
  return {.name = trace.stem().string(),
          .operation = "allocate + deallocate",
          .area = "trace",
          .net = true,
          .run =
              [prepared](benchmark::State& state, std::pmr::memory_resource* resource) {
                time_batches(state, (*prepared)->script.allocations, [&] { (*prepared)->play(resource); });
              },
          .hold =
              [prepared](const resource_maker& make, const settled_hook& settled) {
                const auto resource = make();
                (*prepared)->play(hide(resource.get()), {.way = play_way::filling});
                settled(resource.get());
              },
          .prepare =
              [prepared, trace] {
                if (*prepared == nullptr) *prepared = std::make_unique<prepared_replay>(trace);
              },
          .live_bytes = [prepared] { return (*prepared)->script.peak_bytes; }};
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
