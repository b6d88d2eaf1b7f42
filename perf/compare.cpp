// compare: every memory resource on the same work, interleaved in one process; times, ratios, peak memory.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/command_line.hpp"
#include "support/contestant.hpp"
#include "support/measure.hpp"
#include "support/peak_memory.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/trace_workloads.hpp"
#include "support/workload.hpp"

namespace {

constexpr const char* usage =
    R"(Usage: compare [options]

Runs every memory resource on the same work, interleaved in one process, and prints nanoseconds per
operation (the median of the rounds), in brackets the time relative to mimalloc's.

  --filter A,B,...       only workloads whose name contains A or B or ...
  --contestants A,B,...  only these memory resources, by their full names
  --rounds N             rounds per workload (default 9)
  --traces FOLDER        replay the traces NAME.trace that stand there as well
  --quick                3 short rounds and one memory run, less work: a rough picture in a minute
  --no-memory            don't measure peak memory
  --csv FILE             write every round of every contestant
  --markdown FILE        write the report as Markdown
  --list                 print the names of workloads and contestants
  --help                 print this

The program starts itself with "--peak-memory-of WORKLOAD CONTESTANT" to measure peak memory; it then prints
the peak resident set, how much of it the work added, and how much of that was held in the end, in bytes.
docs/benchmarking.md explains the workloads and the method.
)";

struct options {
  std::vector<std::string> filters;
  std::vector<std::string> contestants;
  perf::effort how_much = perf::effort::full;
  std::string traces;  // A folder; empty: none.
  std::string csv_file;
  std::string markdown_file;
  std::optional<std::pair<std::string, std::string>> peak_memory_of;
  perf::plan how;
  bool list = false;
  bool help = false;
};

options parse(perf::arguments given) {
  options result;
  std::optional<std::size_t> rounds;
  bool memory = true;
  while (given.next()) {
    const std::string option = given.current();
    if (option == "--filter") {
      result.filters = given.list();
    } else if (option == "--contestants") {
      result.contestants = given.list();
    } else if (option == "--rounds") {
      rounds = given.number(1000);
    } else if (option == "--quick") {
      result.how = {.rounds = 3, .run_time = std::chrono::milliseconds(5), .memory_runs = 1};
      result.how_much = perf::effort::quick;
    } else if (option == "--traces") {
      result.traces = given.value();
    } else if (option == "--no-memory") {
      memory = false;
    } else if (option == "--csv") {
      result.csv_file = given.value();
    } else if (option == "--markdown") {
      result.markdown_file = given.value();
    } else if (option == "--list") {
      result.list = true;
    } else if (option == "--help" || option == "-h") {
      result.help = true;
    } else if (option == "--peak-memory-of") {
      auto workload = given.value();
      result.peak_memory_of.emplace(std::move(workload), given.value());
    } else {
      given.refuse_unknown();
    }
  }
  if (rounds) result.how.rounds = *rounds;
  if (!memory) result.how.memory_runs = 0;
  if (result.how_much == perf::effort::quick) result.how.child_arguments.emplace_back("--quick");
  if (!result.traces.empty()) {
    result.how.child_arguments.insert(result.how.child_arguments.end(), {"--traces", result.traces});
  }
  return result;
}

const perf::contestant& contestant_named(const std::string& name) {
  for (const perf::contestant& each : perf::contestants()) {
    if (each.name == name) return each;
  }
  throw perf::usage_error("no contestant is called " + name + " (see --list)");
}

std::vector<const perf::contestant*> chosen_contestants(const options& asked) {
  std::vector<const perf::contestant*> chosen;
  for (const std::string& name : asked.contestants) chosen.push_back(&contestant_named(name));
  if (!chosen.empty()) return chosen;
  for (const perf::contestant& each : perf::contestants()) {
    if (perf::takes_part(each)) chosen.push_back(&each);
  }
  return chosen;
}

std::vector<perf::workload> known_workloads(const options& asked) {
  auto known = perf::all_workloads(asked.how_much);
  if (!asked.traces.empty()) {
    for (auto&& replay : perf::trace_workloads(asked.traces)) known.push_back(std::move(replay));
  }
  return known;
}

std::vector<perf::workload> chosen_workloads(const options& asked,
                                             const std::vector<const perf::contestant*>& who) {
  auto chosen = known_workloads(asked);
  std::erase_if(chosen, [&](const perf::workload& each) {
    const bool matches = asked.filters.empty() ||
                         std::any_of(asked.filters.begin(), asked.filters.end(), [&](const auto& part) {
                           return each.name.find(part) != std::string::npos;
                         });
    const bool feasible =
        std::any_of(who.begin(), who.end(), [&](const auto* one) { return perf::eligible(*one, each); });
    return !matches || !feasible;
  });
  if (chosen.empty()) throw perf::usage_error("no workload matches (see --list)");
  return chosen;
}

const char* condition_of(const perf::contestant& who) {
  if (who.there != nullptr && !who.there()) return " (not there, see docs/benchmarking.md)";
  return who.by_default ? "" : " (only when named)";
}

void list(const options& asked) {
  std::cout << "workloads:\n";
  for (const perf::workload& each : known_workloads(asked)) {
    std::cout << "  " << each.name << " (" << each.operation << ")\n";
  }
  std::cout << "contestants:\n";
  for (const perf::contestant& each : perf::contestants()) {
    std::cout << "  " << each.name << condition_of(each) << '\n';
  }
}

void print_peak_memory(const options& asked) {
  const auto& [workload, contestant] = *asked.peak_memory_of;
  for (const perf::workload& each : known_workloads(asked)) {
    if (each.name != workload) continue;
    const perf::contestant& who = contestant_named(contestant);
    if (!perf::eligible(who, each)) throw perf::usage_error(contestant + " doesn't run " + workload);
    const auto peak = perf::peak_memory_here(each, who);
    std::cout << peak.peak_bytes << ' ' << peak.growth_bytes << ' ' << peak.held_bytes << '\n';
    return;
  }
  throw perf::usage_error("no workload is called " + workload + " (see --list)");
}

/// Opened before anything is measured, so that a wrong name is told at once. An empty name opens nothing.
std::ofstream open_output(const std::string& name) {
  std::ofstream file;
  if (name.empty()) return file;
  file.open(name);
  if (!file) throw std::runtime_error("can't write " + name);
  return file;
}

void finish_output(std::ofstream& file, const std::string& name) {
  file.flush();
  if (!file) throw std::runtime_error("writing " + name + " failed");
}

void run(const options& asked, const std::string& command) {
  const auto who = chosen_contestants(asked);
  const auto workloads = chosen_workloads(asked, who);
  std::ofstream csv = open_output(asked.csv_file);
  std::ofstream markdown = open_output(asked.markdown_file);

  for (const std::string& line : perf::environment()) std::cout << line << '\n';
  if (const auto warning = perf::build_warning(); !warning.empty())
    std::cerr << "warning: " << warning << '\n';
  std::cout << '\n';
  perf::print_header(std::cout, who);
  perf::progress progress;
  std::vector<perf::comparison> all;
  for (const perf::workload& each : workloads) {
    progress.stage("workload " + std::to_string(all.size() + 1) + " of " + std::to_string(workloads.size()) +
                   ", " + each.name);
    all.push_back(perf::compare(each, who, asked.how, [&](const std::string& step) { progress.step(step); }));
    progress.clear();
    perf::print_row(std::cout, all.back(), who);
  }
  perf::print_summary(std::cout, all, who);
  if (csv.is_open()) {
    perf::write_csv(csv, all);
    finish_output(csv, asked.csv_file);
  }
  if (markdown.is_open()) {
    perf::write_markdown(markdown, all, who, command);
    finish_output(markdown, asked.markdown_file);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto body = [&] {
    const perf::arguments given(argc, argv);
    std::string command = "compare";
    for (const std::string& argument : given.all()) command += ' ' + argument;
    const options asked = parse(given);
    if (asked.help) {
      std::cout << usage;
    } else if (asked.list) {
      list(asked);
    } else if (asked.peak_memory_of) {
      print_peak_memory(asked);
    } else {
      run(asked, command);
    }
    return 0;
  };
  return perf::run_program("compare", body, [](std::ostream& out) { out << "Try compare --help.\n"; });
}
