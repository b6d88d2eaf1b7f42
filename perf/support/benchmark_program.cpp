#include "support/benchmark_program.hpp"

#include <cstdlib>
#include <iostream>
#include <string_view>

#include "commit.hpp"
#include "support/command_line.hpp"

namespace perf {
namespace {

/// What `print_help` prints: Google Benchmark calls it without an argument.
std::string help_text;
bool help_asked = false;

/// Google Benchmark calls this for --help, and for formats that it doesn't know; then it would exit with 0.
void print_help() {
  if (!help_asked) {
    std::cerr << "--benchmark_format and --benchmark_out_format are console, json or csv\n";
    std::exit(2);
  }
  std::cout << help_text << "\nOptions of Google Benchmark:\n\n";
  benchmark::PrintDefaultHelp();
}

std::string describe(const benchmark_program& program) {
  std::string text = program.help + (program.options.empty() ? "" : "\nOptions:\n\n");
  for (const own_option& each : program.options) {
    text += "  --" + each.name + (each.value_name.empty() ? "" : "=" + each.value_name) + "\n      " +
            each.help + '\n';
  }
  return text;
}

const own_option* find_option(const benchmark_program& program, std::string_view argument) {
  const std::string_view name = argument.substr(0, argument.find('='));
  for (const own_option& each : program.options) {
    if (name.starts_with("--") && name.substr(2) == each.name) return &each;
  }
  return nullptr;
}

/// The value of `option`, which stands at `index`, or behind it, which is then the next.
std::string value_of(const own_option& option, int& index, int count, char** values) {
  const std::string argument = values[index];
  const std::size_t equals = argument.find('=');
  if (option.value_name.empty()) {
    if (equals != std::string::npos) throw usage_error("--" + option.name + " takes no value");
    return {};
  }
  if (equals != std::string::npos) return argument.substr(equals + 1);
  if (++index == count) throw usage_error("--" + option.name + " needs a value");
  return values[index];
}

/// Takes the program's own options and returns the other arguments.
std::vector<char*> take_options(const benchmark_program& program, int count, char** values) {
  std::vector<char*> others{values[0]};
  for (int i = 1; i < count; ++i) {
    help_asked = help_asked || std::string_view(values[i]) == "--help";
    if (const own_option* option = find_option(program, values[i]); option != nullptr) {
      option->take(value_of(*option, i, count, values));
    } else {
      others.push_back(values[i]);
    }
  }
  return others;
}

void add_context() {
  benchmark::AddCustomContext("cistern_version", CISTERN_PERF_VERSION);
  benchmark::AddCustomContext("cistern_commit", CISTERN_PERF_COMMIT);
  benchmark::AddCustomContext("cistern_build", CISTERN_PERF_BUILD);
#if defined(__clang__)
  benchmark::AddCustomContext("compiler", "clang " __clang_version__);
#else
  benchmark::AddCustomContext("compiler", "gcc " __VERSION__);
#endif
  if (const std::string warning = build_warning(); !warning.empty()) {
    benchmark::AddCustomContext("warning", warning);
    std::cerr << "warning: " << warning << '\n';
  }
}

int run(const benchmark_program& program, int count, char** values) {
  help_text = describe(program);
  std::vector<char*> others = take_options(program, count, values);
  int other_count = static_cast<int>(others.size());
  benchmark::Initialize(&other_count, others.data(), print_help);
  if (benchmark::ReportUnrecognizedArguments(other_count, others.data())) return 2;
  if (program.instead && program.instead()) return 0;
  if (program.register_all) program.register_all();
  add_context();
  const bool any = benchmark::RunSpecifiedBenchmarks() != 0;
  benchmark::Shutdown();
  return any ? 0 : 1;
}

}  // namespace

std::string build_warning() {
#if defined(CISTERN_CHECKED) && CISTERN_CHECKED
  return "this is a checked build: cistern's figures include the checks; use the release preset";
#elif !defined(__OPTIMIZE__)
  return "this build isn't optimised; use the release preset";
#else
  return {};
#endif
}

int run_benchmarks(const benchmark_program& program, int count, char** values) {
  return run_program(
      program.name, [&] { return run(program, count, values); },
      [&](std::ostream& out) { out << "Try " << program.name << " --help.\n"; });
}

}  // namespace perf
