#include "support/benchmark_program.hpp"

#include <cstdlib>
#include <iostream>
#include <string_view>

#include "commit.hpp"

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

/// What is wrong with this build for measuring; null if nothing is.
constexpr const char* build_warning =
#if defined(CISTERN_CHECKED) && CISTERN_CHECKED
    "this is a checked build: cistern's figures include the checks; use the release preset";
#elif !defined(__OPTIMIZE__)
    "this build isn't optimised; use the release preset";
#else
    nullptr;
#endif

void add_context() {
  benchmark::AddCustomContext("cistern_version", CISTERN_PERF_VERSION);
  benchmark::AddCustomContext("cistern_commit", CISTERN_PERF_COMMIT);
  benchmark::AddCustomContext("cistern_build", CISTERN_PERF_BUILD);
#if defined(__clang__)
  benchmark::AddCustomContext("compiler", "clang " __clang_version__);
#else
  benchmark::AddCustomContext("compiler", "gcc " __VERSION__);
#endif
  if (build_warning != nullptr) {
    benchmark::AddCustomContext("warning", build_warning);
    std::cerr << "warning: " << build_warning << '\n';
  }
}

int run(const benchmark_program& program, int count, char** values) {
  help_text = program.help + describe(program.options);
  std::vector<char*> others = take_options(program.options, count, values);
  for (const std::string_view each : others) help_asked = help_asked || each == "--help";
  int other_count = static_cast<int>(others.size());
  benchmark::Initialize(&other_count, others.data(), print_help);
  if (benchmark::ReportUnrecognizedArguments(other_count, others.data())) return 2;
  if (program.instead && program.instead()) return 0;
  program.register_all();
  add_context();
  const bool any = benchmark::RunSpecifiedBenchmarks() != 0;
  benchmark::Shutdown();
  return any ? 0 : 1;
}

}  // namespace

int run_benchmarks(const benchmark_program& program, int count, char** values) {
  return run_program(program.name, [&] { return run(program, count, values); });
}

}  // namespace perf
