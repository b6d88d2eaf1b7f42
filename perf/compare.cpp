// cistern-compare: every memory resource on the same work, as Google Benchmark rows named
// AREA/WORKLOAD/CONTESTANT.
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "demo/workloads.hpp"
#include "support/benchmark_program.hpp"
#include "support/command_line.hpp"
#include "support/contestant.hpp"
#include "support/held_over_time.hpp"
#include "support/inlined_workloads.hpp"
#include "support/keep.hpp"
#include "support/peak_memory.hpp"
#include "support/peer_malloc.hpp"
#include "support/trace_workloads.hpp"
#include "support/workload.hpp"

namespace {

constexpr const char* help = R"(Usage: cistern-compare [options]

Runs every memory resource on the same work. A row is called AREA/WORKLOAD/CONTESTANT; an iteration is one
operation, its real time is what counts. Counters come from a process of its own, with a fixed amount of work.
docs/benchmarking.md explains rows, contestants and counters.
)";

struct options {
  std::string traces;  // a folder; empty: none
  std::string text;    // likewise
  perf::effort how_much = perf::effort::full;
  bool memory = true;
  bool list_contestants = false;
  std::string held_over_time;
  std::string messages_of;
  std::string peak_memory_of;
};

std::vector<perf::workload> workloads(const options& asked) {
  std::vector<perf::workload> all;
  for (auto&& some :
       {perf::block_workloads(asked.how_much), perf::container_workloads(), perf::threaded_workloads(),
        perf::phase_workloads(asked.how_much), perf::life_workloads(),
        asked.text.empty() ? std::vector<perf::workload>() : demo::index_workloads(asked.text),
        asked.traces.empty() ? std::vector<perf::workload>() : perf::trace_workloads(asked.traces)}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::string row_name(const perf::workload& what) {
  return what.area + '/' + what.name;
}

/// "pool/pair/64B/mimalloc" as "pool/pair/64B" and mimalloc.
std::pair<std::string, const perf::contestant*> split(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  const perf::contestant* who =
      slash == std::string::npos ? nullptr : perf::find_contestant(name.substr(slash + 1));
  if (who == nullptr) throw perf::usage_error(name + " doesn't end in /CONTESTANT (see --list-contestants)");
  return {name.substr(0, slash), who};
}

void print_peak_memory(const options& asked) {
  const auto [row, who] = split(asked.peak_memory_of);
  for (const perf::workload& each : workloads(asked)) {
    if (row_name(each) != row || !perf::eligible(*who, each)) continue;
    print(perf::peak_memory_here(each, *who));
    return;
  }
  throw perf::usage_error("there is no row " + asked.peak_memory_of);
}

void print_held_over_time(const options& asked) {
  const auto [scene, who] = split(asked.held_over_time);
  if (!perf::plays(*who, scene)) throw perf::usage_error("there is no scene " + asked.held_over_time);
  perf::play_scene(std::cout, scene, *who, asked.how_much);
}

void print_messages(const options& asked) {
  const perf::contestant* const who = perf::find_contestant(asked.messages_of);
  if (who == nullptr || !who->thread_safe) throw perf::usage_error("not for threads: " + asked.messages_of);
  demo::print_traffic(std::cout, *who);
}

/// Returns false where the benchmarks are to be run.
bool do_something_else(const options& asked) {
  if (!asked.peak_memory_of.empty()) {
    print_peak_memory(asked);
  } else if (!asked.held_over_time.empty()) {
    print_held_over_time(asked);
  } else if (!asked.messages_of.empty()) {
    print_messages(asked);
  } else if (asked.list_contestants) {
    for (const perf::contestant& each : perf::contestants()) std::cout << each.name << '\n';
  } else {
    return false;
  }
  return true;
}

/// Measured once, at the end of a row's first repetition.
const perf::peak_memory& peak_memory_of(const std::string& name, const options& asked) {
  static std::map<std::string, perf::peak_memory> known;
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  std::vector<std::string> arguments{"--peak-memory-of=" + name};
  if (asked.how_much == perf::effort::quick) arguments.emplace_back("--quick");
  if (!asked.traces.empty()) arguments.push_back("--traces=" + asked.traces);
  if (!asked.text.empty()) arguments.push_back("--text=" + asked.text);
  return known[name] = perf::peak_memory_in_child(arguments);
}

void add_counters(benchmark::State& state, const perf::workload& what, const perf::contestant& who,
                  const options& asked) {
  const auto taken = peak_memory_of(row_name(what) + '/' + who.name, asked);
  const auto show = [&](const char* name, std::size_t value) {
    state.counters[name] = benchmark::Counter(static_cast<double>(value), benchmark::Counter::kDefaults,
                                              benchmark::Counter::OneK::kIs1024);
  };
  show("peak_bytes", taken.peak_bytes);
  if (what.hold != nullptr) {
    show("left_bytes", taken.left_bytes);
    show("held_bytes", taken.held_bytes);
  }
  if (taken.live_bytes != 0) show("live_bytes", taken.live_bytes);
  if (who.keeps == nullptr || what.run == nullptr) return;
  show("upstream_calls", taken.kept.upstream_calls);
  show("upstream_bytes", taken.kept.upstream_bytes);
}

void run(benchmark::State& state, const perf::workload& what, const perf::contestant& who,
         const options& asked) {
  if (what.prepare != nullptr) what.prepare();
  state.SetLabel(what.operation);
  const perf::resource_maker make = [&] { return who.make(what.one_block_bytes); };
  if (what.run_lives != nullptr) {
    what.run_lives(state, make);
  } else {
    const auto resource = make();
    what.run(state, perf::hide(resource.get()));
  }
  if (asked.memory && !who.empty_handed) add_counters(state, what, who, asked);
}

void register_rows(const options& asked) {
  static const std::vector<perf::workload> all = workloads(asked);
  for (const perf::workload& what : all) {
    for (const perf::contestant& who : perf::contestants()) {
      if (!perf::eligible(who, what)) continue;
      benchmark::RegisterBenchmark((row_name(what) + '/' + who.name).c_str(),
                                   [&](benchmark::State& state) { run(state, what, who, asked); });
    }
  }
}

void describe_peers() {
  for (const perf::peer_malloc& each : perf::peer_mallocs().found) {
    benchmark::AddCustomContext("peer_" + std::string(each.name), each.version);
  }
  for (const std::string& each : perf::peer_mallocs().missing) {
    std::cerr << "cistern-compare leaves out " << each << '\n';
  }
#if defined(_LIBCPP_VERSION)
  benchmark::AddCustomContext("standard_library", "libc++ " + std::to_string(_LIBCPP_VERSION));
#else
  benchmark::AddCustomContext("standard_library", "libstdc++ " + std::to_string(_GLIBCXX_RELEASE));
#endif
}

}  // namespace

int main(int argc, char** argv) {
  options asked;
  perf::benchmark_program program{.name = "cistern-compare", .help = help};
  const auto text = [](std::string& into) { return [&into](const std::string& value) { into = value; }; };
  program.options = {
      {"traces", "FOLDER", "replay the traces NAME.trace that stand there as well, as rows trace/NAME",
       text(asked.traces)},
      {"text", "FOLDER", "index the words of the text files that stand there as well, as rows demo/index",
       text(asked.text)},
      {"quick", "", "less work in rows that have an amount in their name, which then says so",
       [&](const std::string&) { asked.how_much = perf::effort::quick; }},
      {"no-memory", "", "without counters, and without the processes of their own that they come from",
       [&](const std::string&) { asked.memory = false; }},
      {"list-contestants", "", "print the names of all that are there, and do nothing else",
       [&](const std::string&) { asked.list_contestants = true; }},
      {"held-over-time", "SCENE/CONTESTANT",
       "print, as CSV, what is held during a burst or beside survivors (the two scenes), and do nothing else",
       text(asked.held_over_time)},
      {"messages-of", "CONTESTANT",
       "run the demo's message traffic, print what it took and held (perf/demo.py), and do nothing else",
       text(asked.messages_of)},
      {"peak-memory-of", "ROW/CONTESTANT", "how this program starts itself for counters",
       text(asked.peak_memory_of)},
  };
  program.instead = [&] { return do_something_else(asked); };
  program.register_all = [&] {
    describe_peers();
    register_rows(asked);
    perf::register_inlined_workloads();
  };
  return perf::run_benchmarks(program, argc, argv);
}
