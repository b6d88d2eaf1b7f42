// cistern-trace: records what a program allocates, prints and replays it, and says which pool would suit it.
#include <cistern/adaptor/trace_reader.hpp>

#include <algorithm>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "advise_command.hpp"
#include "closed_streams.hpp"
#include "diff_command.hpp"
#include "export_command.hpp"
#include "invocation.hpp"
#include "print_command.hpp"
#include "printable_text.hpp"
#include "record_command.hpp"
#include "replay_command.hpp"
#include "report_command.hpp"
#include "trace_input.hpp"
#include "usage_error.hpp"
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

namespace {

using cistern::tool::invocation;
using cistern::tool::printable;
using cistern::tool::usage_error;

constexpr int failed = 1;
constexpr int misused = 2;

constexpr const char* tool_exit_statuses =
    R"(Exit status of all but record: 0 if all went well; 1 if the trace can't be read to its end, or a resource refused,
misaligned or damaged a block; 2 if the arguments make no sense.)";

[[nodiscard]] bool is_command(const CLI::App& app, const std::string& name) {
  return !app.get_subcommands([&name](const CLI::App* each) { return each->check_name(name); }).empty();
}

/// `help` and `help COMMAND`: as the option.
void add_help_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("help")->group("");
  const auto about = std::make_shared<std::string>();
  command.add_option("COMMAND", *about)->type_name("");
  command.callback([&app, about] {
    if (!about->empty() && !is_command(app, *about)) throw usage_error("no such command: " + *about);
    const CLI::App* const of = about->empty() ? &app : app.get_subcommand(*about);
    const std::string name = app.get_name() + (about->empty() ? "" : " " + *about);
    std::cout << app.get_formatter()->make_help(of, name, CLI::AppFormatMode::Normal);
  });
}

/// In the order in which --help lists them.
void add_commands(CLI::App& app, invocation& run) {
  cistern::tool::add_record_command(app, run);
  cistern::tool::add_print_command(app, run);
  cistern::tool::add_advise_command(app, run);
  cistern::tool::add_replay_command(app, run);
  cistern::tool::add_diff_command(app, run);
  cistern::tool::add_export_command(app, run);
  cistern::tool::add_report_command(app, run);
  for (CLI::App* const each : app.get_subcommands({})) each->group("Commands");
  add_help_command(app);
}

void parse(CLI::App& app, invocation& run) {
  std::vector<std::string> arguments = run.arguments;
  if (arguments.empty()) throw usage_error("no command");
  const std::string& first = arguments[0];
  if (!is_command(app, first) && app.get_option_no_throw(first) == nullptr) {
    throw usage_error((first.starts_with('-') ? "no such option: " : "no such command: ") + first);
  }
  if (first == "record") {
    run.program_arguments = cistern::tool::take_program_arguments(*app.get_subcommand("record"), arguments);
  }
  std::reverse(arguments.begin(), arguments.end());  // As the parser takes them.
  app.parse(std::move(arguments));
}

/// What there was no use for.
[[nodiscard]] std::string unexpected(const CLI::App& app) {
  for (const std::string& each : app.remaining(true)) {
    if (each != "--") return (each.starts_with('-') ? "no such option: " : "too many arguments: ") + each;
  }
  return "too many arguments";
}

[[nodiscard]] int misuse(const CLI::App& app, const invocation& run, const std::string& what) {
  const bool has_command = !run.arguments.empty() && is_command(app, run.arguments[0]);
  std::cerr << "cistern-trace: " << printable(what) << "\nTry 'cistern-trace "
            << (has_command ? run.arguments[0] + " " : "") << "--help'.\n";
  return misused;
}

/// The trace that the command is about.
[[nodiscard]] std::string trace_of(const CLI::App& app) {
  for (const CLI::App* const command : app.get_subcommands()) {
    if (const CLI::Option* const file = command->get_option_no_throw("FILE"); file != nullptr && *file) {
      return file->as<std::string>();
    }
  }
  return "the trace";
}

[[nodiscard]] int run_tool(CLI::App& app, invocation& run) {
  try {
    parse(app, run);
  } catch (const CLI::Success& help_or_version) {
    app.exit(help_or_version);
  } catch (const CLI::ExtrasError&) {
    return misuse(app, run, unexpected(app));
  } catch (const CLI::ParseError& error) {
    return misuse(app, run, error.what());
  } catch (const usage_error& error) {
    return misuse(app, run, error.what());
  } catch (const cistern::trace_error& error) {
    throw std::runtime_error(cistern::tool::fault_in(trace_of(app), error));
  }
  if (!std::cout.flush()) throw std::runtime_error("cannot write to standard output");
  return run.status;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    cistern::tool::open_closed_streams();
    invocation run{{arguments + (count > 0 ? 1 : 0), arguments + count}};
    CLI::App app("See what a program allocates: record it, replay it on other allocators, be advised.",
                 "cistern-trace");
    app.set_version_flag("--version", "cistern-trace " CISTERN_VERSION);
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    app.get_formatter()->label("SUBCOMMAND", "COMMAND");
    app.get_formatter()->label("REQUIRED", "");
    app.require_subcommand(1);
    app.footer(tool_exit_statuses);
    add_commands(app, run);
    return run_tool(app, run);
  } catch (const std::exception& error) {
    std::cout.flush();  // What came before the error stands before it.
    std::cerr << "cistern-trace: " << printable(error.what()) << '\n';
    return failed;
  }
}
