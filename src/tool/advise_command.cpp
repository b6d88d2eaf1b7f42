#include "advise_command.hpp"

#include <cistern/adaptor/trace_advice.hpp>
#include <cistern/adaptor/trace_reader.hpp>

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../base/statistics_text.hpp"
#include "../trace/site_profile.hpp"
#include "advice_choice.hpp"
#include "advice_json.hpp"
#include "advice_report.hpp"
#include "advice_text.hpp"
#include "call_sites.hpp"
#include "command_options.hpp"
#include "export_file.hpp"
#include "output_check.hpp"
#include "own_memory.hpp"
#include "replay_meter.hpp"
#include "resident_memory.hpp"
#include "trace_input.hpp"
#include <CLI/App.hpp>

namespace cistern::tool {
namespace {

constexpr std::size_t most_replayed_threads = 1024;
constexpr std::size_t most_rounds = 100'000;

struct advise_options {
  std::string file;
  std::string json;
  std::uint64_t max_memory_bytes = 0;
  std::size_t rounds = 9;
  bool one_thread = false;
  bool rules = false;
};

/// `where`: what is known of the place.
void say_it_was_cut_off(const std::string& where = {}) {
  std::cout.flush();
  std::cerr << "cistern-trace: the trace was cut off; the advice is on what there is of it" << where << '\n';
}

[[nodiscard]] int print_rules(const advise_options& options) {
  trace_reader trace(source_named(options.file));
  const trace_advice advice = advise(trace, nullptr, {.up_to_the_cut = true});
  std::cout << advice;
  if (advice.cut_off) say_it_was_cut_off();
  say_how_it_ended(trace);
  return 0;
}

/// What the trace says by itself.
[[nodiscard]] trace_advice rules_of(const std::string& path) {
  trace_reader trace(source_named(path), own_memory());
  return advise(trace, own_memory(), {.up_to_the_cut = true});
}

[[nodiscard]] script_maker scripts_of(const std::string& path, std::uint64_t most_bytes) {
  return [path, most_bytes](detail::replay_script_options options) {
    options.memory = own_memory();
    trace_reader trace(source_named(path), own_memory());
    detail::replay_script script = detail::make_replay_script(trace, options);
    if (script.lanes.size() > most_replayed_threads) {
      throw std::runtime_error("the trace has " + detail::with_thousands(script.lanes.size()) +
                               " threads at a time, too many to be replayed side by side: add --one-thread");
    }
    if (script.peak_first_page_bytes > most_bytes) {
      throw std::runtime_error("the trace's blocks take at least " +
                               detail::in_binary_units(script.peak_first_page_bytes) + ", and " +
                               detail::in_binary_units(most_bytes) +
                               " may be used: --max-memory says how much it may be");
    }
    return script;
  };
}

[[nodiscard]] int give_advice(const advise_options& options) {
  check_outputs({{"FILE", options.file}}, {{"--json", options.json}});
  const export_file json(options.json);
  const std::string path = rereadable(options.file);
  trace_reader trace(source_named(path), own_memory());
  call_sites sites(trace.stacks());
  std::vector<std::uint32_t> site_of_stack;
  const auto site_of = [&](std::uint64_t stack) {
    const detail::stack_site site = sites.site_of(stack);
    if (site_of_stack.size() <= stack) site_of_stack.resize(stack + 1);
    site_of_stack[stack] = site.site;
    return site;
  };
  const detail::trace_profile profile = detail::profile_sites(trace, site_of, own_memory());
  const std::uint64_t most_bytes =
      options.max_memory_bytes != 0 ? options.max_memory_bytes : available_bytes() / 4 * 3;
  replay_meter meter(options.rounds, most_bytes);
  const trace_verdict verdict = judge({.profile = profile,
                                       .rules = rules_of(path),
                                       .sample_bytes = trace.sample_bytes(),
                                       .site_of = [&](std::uint64_t stack) { return site_of_stack[stack]; },
                                       .one_thread = options.one_thread},
                                      scripts_of(path, most_bytes), meter);
  const advice_report report{.trace = options.file,
                             .profile = profile,
                             .verdict = verdict,
                             .sample_bytes = trace.sample_bytes(),
                             .site_name = [&](std::uint32_t site) { return sites.name(site); }};
  std::cout << as_text(report);
  if (json.is_wanted()) json.write(as_json(report));
  if (profile.cut) say_it_was_cut_off(std::string(" (") + profile.cut->what() + ")");
  say_how_it_ended(trace);
  return 0;
}

}  // namespace

void add_advise_command(CLI::App& app, invocation& run) {
  const auto options = std::make_shared<advise_options>();
  CLI::App& command = *app.add_subcommand("advise", "whether a pool, or what else, would suit the program");
  add_trace_argument(command, options->file);
  command.add_option("--json", options->json, "writes all figures")->type_name("FILE");
  command.add_option("--rounds", options->rounds, "times each trial is timed")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(std::size_t{1}, most_rounds));
  command.add_flag("--one-thread", options->one_thread, "replays all calls on one thread");
  add_size_option(command, "--max-memory", options->max_memory_bytes,
                  "don't begin what would take more; else three\nquarters of what is available");
  command.add_flag("--rules", options->rules, "replays nothing: what the trace says by itself");
  command.callback([options, &command, &run] {
    expect_alone(command, "--rules", {"--json", "--rounds", "--one-thread", "--max-memory"});
    run.status = options->rules ? print_rules(*options) : give_advice(*options);
  });
}

}  // namespace cistern::tool
