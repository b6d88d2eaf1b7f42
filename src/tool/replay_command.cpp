#include "replay_command.hpp"

#include <cistern/adaptor/trace_replay.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "../base/statistics_text.hpp"
#include "../trace/script_player.hpp"
#include "command_options.hpp"
#include "export_file.hpp"
#include "malloc_library.hpp"
#include "output_check.hpp"
#include "own_memory.hpp"
#include "progress_line.hpp"
#include "replay_memory.hpp"
#include "replay_report.hpp"
#include "replay_resource.hpp"
#include "resident_memory.hpp"
#include "stopwatch.hpp"
#include "this_program.hpp"
#include "trace_input.hpp"
#include "usage_error.hpp"

namespace cistern::tool {
namespace {

constexpr int replay_failed = 1;
constexpr std::size_t most_lanes = 1024;
constexpr std::size_t most_samples = 1000;

struct replay_request {
  std::string file;
  std::optional<std::string> on;
  std::string json;
  std::string csv;
  std::uint64_t max_memory_bytes = 0;
  std::size_t rounds = 9;
  bool one_thread = false;
  bool cold = false;
  bool check = false;
  bool measure_memory = false;  // Of the only resource, for the process that started this one.
};

[[nodiscard]] std::size_t rounds_from(const std::string& text) {
  std::size_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || last != end || number == 0 || number > 100'000) {
    throw usage_error("--rounds takes a number from 1 to 100000: " + text);
  }
  return number;
}

/// The script, and on standard error what there is to say about the trace.
[[nodiscard]] detail::replay_script script_of(const std::string& path, bool one_thread, std::size_t samples) {
  trace_reader trace(source_named(path), own_memory());
  detail::replay_script script = detail::make_replay_script(
      trace, {.one_thread = one_thread, .samples = samples, .memory = own_memory()});
  if (script.allocations == 0) throw std::runtime_error("the trace has no allocation");
  if (script.lanes.size() > most_lanes) {
    throw std::runtime_error("the trace has " + detail::with_thousands(script.lanes.size()) +
                             " threads at a time, too many to be replayed side by side: add --one-thread");
  }
  if (samples != 0) return script;  // All was said by who asked for them.
  if (script.cut) {
    std::cerr << "cistern-trace: the trace was cut off; replayed is what there is of it ("
              << script.cut->what() << ")\n";
  }
  if (trace.sample_bytes() != 0) {
    std::cerr << "cistern-trace: the trace has one call of every "
              << detail::with_thousands(trace.sample_bytes())
              << " bytes allocated; the figures are of these calls alone\n";
  }
  say_how_it_ended(trace);
  return script;
}

/// Without those that the trace is not for, unless they were asked for.
void leave_out_unable(std::vector<replay_candidate>& candidates, const detail::replay_script& script,
                      bool were_named) {
  if (script.lanes.size() == 1) return;
  const auto is_unable = [](const replay_candidate& each) { return !each.is_thread_safe; };
  const auto found = std::find_if(candidates.begin(), candidates.end(), is_unable);
  if (were_named && found != candidates.end()) {
    throw std::runtime_error(found->name + " is for one thread, and the trace has " +
                             detail::with_thousands(script.lanes.size()) +
                             " at a time: add --one-thread, or leave it out");
  }
  std::erase_if(candidates, is_unable);
}

[[noreturn]] void refuse_memory(const std::string& what, std::uint64_t bytes, std::uint64_t most_bytes) {
  throw std::runtime_error(what + " " + detail::in_binary_units(bytes) + ", and " +
                           detail::in_binary_units(most_bytes) +
                           " may be used: --max-memory says how much it may be");
}

/// Whether memory can be measured, for which all of every block is written to.
[[nodiscard]] bool fits_into_memory(const std::vector<replay_candidate>& candidates,
                                    const detail::replay_script& script, std::uint64_t most_bytes) {
  if (script.peak_first_page_bytes > most_bytes) {
    refuse_memory("the trace's blocks take at least", script.peak_first_page_bytes, most_bytes);
  }
  for (const replay_candidate& each : candidates) {
    if (each.keeps_freed_blocks && script.requested_bytes > most_bytes) {
      refuse_memory(each.name + " would hold", script.requested_bytes, most_bytes);
    }
  }
  if (script.peak_bytes <= most_bytes) return true;
  std::cerr << "cistern-trace: memory isn't measured: the trace's blocks take "
            << detail::in_binary_units(script.peak_bytes) << ", and " << detail::in_binary_units(most_bytes)
            << " may be used (--max-memory)\n";
  return false;
}

void measure_times(replay_results& results, const std::vector<replay_candidate>& candidates,
                   const replay_request& request, progress_line& progress) {
  const auto calls = static_cast<double>(results.script.calls());
  std::deque<stopwatch> watches;
  for (const replay_candidate& each : candidates) watches.emplace_back(each, results.script, request.cold);
  for (std::size_t i = 0; i < watches.size(); ++i) {
    progress.step("calibrating " + candidates[i].name);
    watches[i].calibrate();
  }
  for (std::size_t round = 0; round < request.rounds; ++round) {
    for (std::size_t place = 0; place < watches.size(); ++place) {
      const std::size_t who = at_place(place, round, watches.size());
      progress.step("round " + std::to_string(round + 1) + " of " + std::to_string(request.rounds) + ", " +
                    candidates[who].name);
      const timed_replay timed = watches[who].time();
      results.resources[who].refused = timed.refused;
      results.resources[who].rounds.push_back(timed.nanoseconds / calls);
    }
  }
  for (std::size_t i = 0; i < watches.size(); ++i) {
    progress.step("longest call of " + candidates[i].name);
    results.resources[i].longest_call = watches[i].longest_call();
  }
}

[[nodiscard]] replay_memory memory_of(const replay_candidate& candidate, const std::string& path,
                                      bool one_thread) {
  std::vector<std::string> arguments = {"replay", "--measure-memory", "--on", candidate.name};
  if (one_thread) arguments.emplace_back("--one-thread");
  arguments.insert(arguments.end(), {"--", path});
  return memory_from(output_of_this_program(arguments));
}

[[nodiscard]] int say_who_refused(const replay_results& results) {
  int status = 0;
  for (const replayed_on& each : results.resources) {
    if (each.refused == 0) continue;
    std::cerr << "cistern-trace: " << each.name << " refused " << detail::with_thousands(each.refused)
              << (each.refused == 1 ? " allocation\n" : " allocations\n");
    status = replay_failed;
  }
  return status;
}

[[nodiscard]] int compare(const replay_request& request, std::vector<replay_candidate> candidates) {
  const export_file json(request.json);
  const export_file csv(request.csv);
  const std::string path = rereadable(request.file);
  replay_results results{
      .trace = request.file, .script = script_of(path, request.one_thread, 0), .resources = {}};
  const detail::replay_script& script = results.script;
  leave_out_unable(candidates, script, request.on.has_value());
  const std::uint64_t most_bytes =
      request.max_memory_bytes != 0 ? request.max_memory_bytes : available_bytes() / 4 * 3;
  const bool with_memory = fits_into_memory(candidates, script, most_bytes);
  for (const replay_candidate& each : candidates) results.resources.push_back({.name = each.name});
  {
    progress_line progress(candidates.size() * (request.rounds + 3));
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (!with_memory || !candidates[i].gives_blocks) continue;
      progress.step("memory of " + candidates[i].name);
      results.resources[i].memory = memory_of(candidates[i], path, request.one_thread);
    }
    measure_times(results, candidates, request, progress);
  }
  std::cout << as_table(results);
  if (json.is_wanted()) json.write(as_json(results));
  if (csv.is_wanted()) csv.write(as_csv(results));
  return say_who_refused(results);
}

/// Each with a pattern in every block.
[[nodiscard]] int check(const replay_request& request, const std::vector<replay_candidate>& candidates) {
  const std::string path = rereadable(request.file);
  int status = 0;
  const char* gap = "";
  for (const replay_candidate& each : candidates) {
    if (!each.gives_blocks) {
      if (request.on) throw usage_error(each.name + " has no blocks to check");
      continue;
    }
    trace_reader trace(source_named(path));
    const std::unique_ptr<replay_resource> resource = each.make();
    const replay_report report = cistern::replay(trace, &resource->get(), {.up_to_the_cut = true});
    std::cout << gap << each.name << '\n' << report;
    if (*gap == '\0') {
      if (report.cut_off)
        std::cerr << "cistern-trace: the trace was cut off; checked is what there is of it\n";
      say_how_it_ended(trace);
    }
    gap = "\n";
    if (report.resource_passed()) continue;
    std::cout.flush();
    std::cerr << "cistern-trace: " << each.name << " refused, misaligned or damaged blocks\n";
    status = replay_failed;
  }
  return status;
}

[[nodiscard]] int replay(const replay_request& request, const std::vector<std::string>& arguments) {
  check_outputs({{"FILE", request.file}}, {{"--json", request.json}, {"--csv", request.csv}});
  start_with_room_for_libraries(arguments);
  std::vector<replay_candidate> candidates =
      request.on ? candidates_in(*request.on) : candidates_by_default();
  if (request.check) return check(request, candidates);
  if (!request.measure_memory) return compare(request, std::move(candidates));
  std::cout << measure_memory(script_of(request.file, request.one_thread, most_samples), candidates.front());
  return 0;
}

void add_replay_options(CLI::App& command, replay_request& request) {
  command
      .add_option_function<std::string>(
          "--on", [&request](const std::string& list) { request.on = list; },
          "names with commas between them; the first is what\n"
          "times are compared with:\n"
          "  new        operator new and delete\n"
          "  cistern-sync, cistern-unsync\n"
          "             our pools, with options:\n"
          "             cistern-sync:max_idle_bytes=1M:...\n"
          "  std-sync, std-unsync\n"
          "             the pools of the standard library\n"
          "  monotonic  std::pmr::monotonic_buffer_resource\n"
          "  mimalloc, jemalloc, tcmalloc, snmalloc, or the path\n"
          "             of a library that has a malloc\n"
          "  nothing    no memory at all: what the replay takes\n"
          "Else all that are there, but for monotonic")
      ->type_name("LIST");
  command.add_flag("--one-thread", request.one_thread,
                   "all calls on one thread, in the order in which they\n"
                   "were recorded; else on as many threads as were\n"
                   "recorded, where a block is freed after it was\n"
                   "allocated, whoever does it. The pools called unsync,\n"
                   "and monotonic, are for one thread");
  command.add_flag("--cold", request.cold,
                   "one replay for each timing, in a process that has\n"
                   "done nothing else; else a resource lives through the\n"
                   "trace once before the clock starts, and then as often\n"
                   "as takes 25 ms");
  command
      .add_option_function<std::string>(
          "--rounds", [&request](const std::string& text) { request.rounds = rounds_from(text); },
          "times each resource is timed (9), one after the\n"
          "other in each round")
      ->type_name("N");
  command.add_option("--json", request.json, "writes all figures, and memory over time")->type_name("FILE");
  command.add_option("--csv", request.csv, "writes a line for each resource")->type_name("FILE");
  add_size_option(command, "--max-memory", request.max_memory_bytes,
                  "don't begin what would take more (K, M and G stand\n"
                  "for powers of 1024); else three quarters of what is\n"
                  "available");
  command.add_flag("--check", request.check,
                   "no times: look whether the resource damages or\n"
                   "misaligns blocks. On one thread");
  command.add_flag("--measure-memory", request.measure_memory)
      ->group("");  // Between this program and itself.
}

constexpr const char* replay_exit_statuses =
    R"(Exit status: 0 if all went well; 1 if the trace can't be read, a resource isn't there, or it refused, misaligned or
damaged a block; 2 if the arguments make no sense. A trace that was cut off is replayed as far as it goes.)";

}  // namespace

void add_replay_command(CLI::App& app, invocation& run) {
  const auto request = std::make_shared<replay_request>();
  CLI::App& command = *app.add_subcommand(
      "replay", "performs the calls of a trace on several resources, and compares time and memory");
  add_replay_options(command, *request);
  add_trace_argument(command, request->file);
  command.footer(replay_exit_statuses);
  command.callback([request, &command, &run] {
    expect_alone(command, "--check", {"--json", "--csv", "--rounds", "--cold", "--max-memory"});
    run.status = replay(*request, run.arguments);
  });
}

}  // namespace cistern::tool
