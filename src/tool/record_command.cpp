#include "record_command.hpp"

#include <cistern/adaptor/trace_reader.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <system_error>

#include "../base/statistics_text.hpp"
#include "command_options.hpp"
#include "compressed_trace.hpp"
#include "output_place.hpp"
#include "program_signals.hpp"
#include "reading_progress.hpp"
#include "toggle_signal.hpp"
#include "trace_input.hpp"
#include "usage_error.hpp"
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::tool {

namespace {

constexpr int not_recorded = 125;
constexpr int cannot_be_run = 126;
constexpr int not_found = 127;
constexpr int ended_by_signal = 128;

struct record_options {
  std::filesystem::path output;
  std::vector<std::string> program;  // With its arguments.
  std::uint64_t max_bytes = 0;
  std::uint64_t sample_bytes = 0;  // 0: all calls.
  std::string stacks;              // The depth; empty: no stacks.
  unsigned stack_depth = 0;        // 0: no stacks.
  int toggle_signal = 0;           // 0: none.
  bool paused = false;             // It begins so.
  bool pausable = false;
  bool compress = false;
  bool children = false;
  bool quiet = false;
};

constexpr unsigned usual_stack_depth = 16;
constexpr unsigned most_stack_depth = 64;

[[nodiscard]] unsigned stack_depth_from(const std::string& text) {
  if (text == "true") return usual_stack_depth;  // As the parser calls a flag alone.
  unsigned depth = 0;
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, depth);
  if (error != std::errc() || last != end || depth == 0 || depth > most_stack_depth) {
    throw usage_error("--stacks takes a depth from 1 to 64: " + text);
  }
  return depth;
}

[[nodiscard]] bool takes_value(const CLI::App& record, const std::string& option) {
  const CLI::Option* const found = record.get_option_no_throw(option);
  return found != nullptr && found->get_items_expected_min() > 0;
}

/// Whether what `given` is an option for stands in the next argument.
[[nodiscard]] bool takes_next(const CLI::App& record, const std::string& given) {
  if (given.starts_with("--")) return takes_value(record, given);
  for (std::size_t i = 1; i < given.size(); ++i) {
    if (takes_value(record, std::string("-") + given[i])) return i + 1 == given.size();
  }
  return false;
}

[[nodiscard]] std::filesystem::path preloadable(std::filesystem::path library) {
  if (library.native().find_first_of(" :") == std::string::npos) return library;
  throw std::runtime_error(
      library.string() +
      " can't be preloaded: at a space or a colon the system takes a path to end. Install "
      "the tool in a folder whose path has neither");
}

/// Beside the tool, as in a build, or where it is installed.
[[nodiscard]] std::filesystem::path record_library() {
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  for (const char* place : {CISTERN_RECORD_LIBRARY_PLACES}) {
    std::filesystem::path found = (folder / place / "libcistern-record.so").lexically_normal();
    if (std::filesystem::exists(found)) return preloadable(std::move(found));
  }
  throw std::runtime_error("libcistern-record.so isn't where it was installed, seen from " + folder.string() +
                           ": install it there");
}

// NOLINTBEGIN(concurrency-mt-unsafe): the child of a fork has one thread
void set_environment(const record_options& options, const std::filesystem::path& library,
                     const std::filesystem::path& output) {
  const char* const others = std::getenv("LD_PRELOAD");
  const std::string preload =
      library.string() + (others != nullptr && *others != '\0' ? ":" + std::string(others) : "");
  ::setenv("LD_PRELOAD", preload.c_str(), 1);
  ::setenv("CISTERN_RECORD_TO", output.c_str(), 1);
  ::setenv("CISTERN_RECORD_MAX_BYTES", std::to_string(options.max_bytes).c_str(), 1);
  ::setenv("CISTERN_RECORD_SAMPLE_BYTES", std::to_string(options.sample_bytes).c_str(), 1);
  ::setenv("CISTERN_RECORD_STACKS", std::to_string(options.stack_depth).c_str(), 1);
  ::setenv("CISTERN_RECORD_PAUSED", options.paused ? "1" : "0", 1);
  ::setenv("CISTERN_RECORD_PAUSABLE", options.pausable ? "1" : "0", 1);
  ::setenv("CISTERN_RECORD_TOGGLE_SIGNAL", std::to_string(options.toggle_signal).c_str(), 1);
  ::setenv("CISTERN_RECORD_CHILDREN", options.children ? "1" : "0", 1);
}
// NOLINTEND(concurrency-mt-unsafe)

/// In the child: becomes the program, or tells the parent by the pipe why it can't, and ends.
[[noreturn]] void become(const std::vector<std::string>& program, int pipe) {
  std::vector<char*> arguments;
  arguments.reserve(program.size() + 1);
  for (const std::string& each : program) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  const int error = errno;
  (void)!::write(pipe, &error, sizeof error);
  ::_exit(not_found);
}

struct ended_program {
  pid_t process = 0;
  int status = 0;      // What a shell would say.
  int exec_error = 0;  // Not 0: there never was one.
};

void say_how_to_toggle(const record_options& options, pid_t program) {
  std::cerr << "cistern-trace: recording is " << (options.paused ? "paused" : "on") << "; kill -"
            << signal_name(options.toggle_signal) << ' ' << program << " toggles it\n";
}

[[nodiscard]] int wait_for(pid_t process) {
  int status = 0;
  while (::waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  return WIFSIGNALED(status) ? ended_by_signal + WTERMSIG(status) : WEXITSTATUS(status);
}

/// `place` forgets the old trace once there is a program.
[[nodiscard]] ended_program run_program(const record_options& options, output_place& place) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const std::filesystem::path library = record_library();
  std::cout.flush();
  ended_program ended;
  program_signals signals(options.toggle_signal);
  ended.process = ::fork();
  if (ended.process < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (ended.process == 0) {
    signals.are_childs();
    set_environment(options, library, place.path());
    become(options.program, ends[1]);
  }
  signals.are_for(ended.process);
  ::close(ends[1]);
  (void)!::read(ends[0], &ended.exec_error, sizeof ended.exec_error);
  ::close(ends[0]);
  if (ended.exec_error == 0) {
    place.forget_old();
    if (options.toggle_signal != 0 && !options.quiet) say_how_to_toggle(options, ended.process);
  }
  ended.status = wait_for(ended.process);
  if (ended.exec_error != 0) ended.status = ended.exec_error == ENOENT ? not_found : cannot_be_run;
  return ended;
}

struct trace_summary {
  std::uint64_t allocations = 0;
  std::uint64_t deallocations = 0;
  std::uint64_t reallocations = 0;
  std::uint64_t failures = 0;
  std::size_t threads = 0;
  std::size_t live_blocks = 0;
  std::uint64_t unknown_stacks = 0;   // Calls without one.
  std::optional<std::size_t> stacks;  // If they were recorded.
  std::uint64_t sample_bytes = 0;     // 0: all calls were.
  std::string how_it_ended;
  bool is_sound = true;
};

[[nodiscard]] trace_summary summary_of(const std::filesystem::path& path) {
  trace_summary summary;
  std::set<std::uint64_t> threads;
  std::optional<trace_reader> trace;
  try {
    trace.emplace(source_named(path));
    reading_progress progress(path, "reading " + path.string());
    for (trace_event event; trace->next(event);) {
      progress.at(*trace);
      threads.insert(event.thread);
      summary.allocations += event.call == trace_call::allocate ? 1U : 0U;
      summary.deallocations += event.call == trace_call::deallocate ? 1U : 0U;
      summary.reallocations += event.call == trace_call::reallocate ? 1U : 0U;
      summary.failures += event.call == trace_call::failed_allocate ? 1U : 0U;
      summary.unknown_stacks += event.stack == 0 ? 1U : 0U;
    }
    if (trace->ending() == trace_ending::size_limit)
      summary.how_it_ended = "ended at the size that --max-size allows";
    if (trace->ending() == trace_ending::write_error) {
      summary.how_it_ended = "ended early: " + std::generic_category().message(trace->ending_error());
    }
  } catch (const trace_error& error) {
    summary.is_sound = error.fault() == trace_fault::truncated && trace;
    summary.how_it_ended = summary.is_sound ? "cut off; what happened last is missing" : error.what();
  }
  summary.threads = threads.size();
  if (trace) summary.sample_bytes = trace->sample_bytes();
  if (trace) summary.live_blocks = trace->live_blocks();
  if (trace && trace->has_stacks()) summary.stacks = trace->stacks().stacks();
  return summary;
}

/// A trace in a few words; false if it can't be read.
[[nodiscard]] bool describe(const std::filesystem::path& path, bool quiet) {
  const trace_summary summary = summary_of(path);
  if (!quiet) {
    using detail::with_thousands;
    std::cerr << "cistern-trace: " << path.string() << ": " << with_thousands(summary.allocations)
              << " allocations, " << with_thousands(summary.reallocations) << " reallocations, "
              << with_thousands(summary.deallocations) << " frees, " << with_thousands(summary.failures)
              << " failures by " << with_thousands(summary.threads)
              << (summary.threads == 1 ? " thread; " : " threads; ") << with_thousands(summary.live_blocks)
              << " blocks live at the end; ";
    if (summary.sample_bytes != 0)
      std::cerr << "one sample in " << detail::in_binary_units(summary.sample_bytes) << "; ";
    if (summary.stacks) {
      std::cerr << with_thousands(*summary.stacks) << " stacks; ";
      if (summary.unknown_stacks != 0)
        std::cerr << with_thousands(summary.unknown_stacks) << " calls of unknown stacks; ";
    }
    std::cerr << detail::in_binary_units(std::filesystem::file_size(path));
    if (!summary.how_it_ended.empty()) std::cerr << "; " << summary.how_it_ended;
    std::cerr << '\n';
  } else if (!summary.is_sound) {
    std::cerr << "cistern-trace: " << path.string() << ": " << summary.how_it_ended << '\n';
  }
  return summary.is_sound;
}

using recording_time = std::chrono::system_clock::time_point;

/// Whether a file is a trace whose recording began at that time or later.
[[nodiscard]] bool began_since(recording_time time, const std::filesystem::path& path) {
  try {
    return trace_reader(source_named(path)).started() >= time;
  } catch (const std::exception&) {
    return false;  // It is no trace.
  }
}

/// The traces of children, FILE.PROCESS[.NUMBER], that began since `started`: those of earlier runs stay.
[[nodiscard]] std::vector<std::filesystem::path> traces_beside(const std::filesystem::path& output,
                                                               recording_time started) {
  std::vector<std::filesystem::path> found;
  const std::string prefix = output.filename().string() + ".";
  for (const auto& entry : std::filesystem::directory_iterator(output.parent_path())) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) &&
        name.find_first_not_of("0123456789.", prefix.size()) == std::string::npos &&
        entry.is_regular_file() && began_since(started, entry.path())) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// The process writes to the trace as long as it lives. What can't be compressed stays as it is, and
/// readable.
void compress_if_finished(const std::filesystem::path& path) {
  try {
    const std::uint64_t process = trace_reader(source_named(path)).process();
    if (process != 0 && (::kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM)) {
      std::cerr << "cistern-trace: " << path.string() << " isn't compressed: process " << process
                << " still writes to it\n";
      return;
    }
    reading_progress progress(path, "compressing " + path.string());
    compress_in_place(path, [&progress](std::uint64_t bytes) { progress.at(bytes); });
  } catch (const std::exception& error) {
    std::cerr << "cistern-trace: " << path.string() << " isn't compressed: " << error.what() << '\n';
  }
}

[[nodiscard]] int record(const record_options& options) {
  // The number is that of this process: that of the program is known only when it is there.
  std::filesystem::path output = options.output;
  if (output.empty()) {
    output = std::filesystem::path(options.program[0]).filename();
    output += "." + std::to_string(::getpid()) + ".trace";
  }
  output = std::filesystem::absolute(output);
  output_place place(output, options.program[0]);
  const recording_time started = std::chrono::system_clock::now();
  const ended_program ended = run_program(options, place);
  if (ended.exec_error != 0) {
    std::cerr << "cistern-trace: cannot run " << options.program[0] << ": "
              << std::generic_category().message(ended.exec_error) << '\n';
    return ended.status;
  }
  if (!std::filesystem::exists(output)) {
    std::cerr
        << "cistern-trace: " << options.program[0]
        << " was not recorded: it is linked statically, built with -fsanitize=address, or runs with the "
           "rights of its owner; or it can't write "
        << output.string() << '\n';
    return ended.status != 0 ? ended.status : not_recorded;
  }
  std::vector<std::filesystem::path> traces{output};
  if (options.children) {
    for (const auto& each : traces_beside(output, started)) traces.push_back(each);
  }
  bool is_sound = true;
  for (const auto& each : traces) {
    if (options.compress) compress_if_finished(each);
    is_sound = describe(each, options.quiet) && is_sound;
  }
  return ended.status != 0 || is_sound ? ended.status : not_recorded;
}

[[nodiscard]] int record_or_say_why_not(const record_options& options) {
  try {
    return record(options);
  } catch (const std::exception& error) {
    std::cerr << "cistern-trace: " << error.what() << '\n';
    return not_recorded;
  }
}

constexpr const char* record_exit_statuses =
    R"(Exit status: that of PROGRAM; 128 and the signal's number if a signal ended it; 127 if there is no such program, 126 if
it can't be run; 125 if it isn't recorded, or the trace can't be read; 2 if the arguments make no sense.)";

void add_record_options(CLI::App& command, record_options& options) {
  command
      .add_option_function<std::string>(
          "-o,--output", [&options](const std::string& path) { options.output = path; },
          "the trace; written over if it is there. Else\n"
          "PROGRAM.NUMBER.trace in the working directory")
      ->type_name("FILE");
  command.add_flag("--children", options.children,
                   "record the processes that it forks, and the programs\n"
                   "that it and they become, each into a file of its own\n"
                   "beside FILE: FILE.PROCESS, FILE.PROCESS.2, ...");
  add_size_option(command, "--max-size", options.max_bytes,
                  "end a trace when it has grown to so many bytes (K, M\n"
                  "and G stand for powers of 1024); the program goes on");
  add_size_option(command, "--sample", options.sample_bytes,
                  "record one allocation in SIZE bytes, on average, and\n"
                  "what becomes of those blocks");
  // A flag that may be told its depth, by = alone: what follows it is the program.
  command
      .add_flag("--stacks", options.stacks,
                "record from where each call was made: up to DEPTH\n"
                "places (1 to 64; 16 if none is given)")
      ->option_text("[=DEPTH]");
  command.add_flag("--paused", options.paused,
                   "begin without recording: the program starts it\n"
                   "(cistern/record.h), or a signal does");
  command.add_flag("--pausable", options.pausable, "let the program stop and start the recording");
  command
      .add_option_function<std::string>(
          "--toggle-signal",
          [&options](const std::string& name) { options.toggle_signal = toggle_signal_from(name); },
          "a signal that stops the recording and starts it again")
      ->type_name("NAME");
  command.add_flag("-z,--compress", options.compress,
                   "compress the trace by zstd when the program has ended;\n"
                   "so it is if FILE ends in .zst");
  command.add_flag("-q,--quiet", options.quiet, "no summary");
}

}  // namespace

std::vector<std::string> take_program_arguments(const CLI::App& app, std::vector<std::string>& arguments) {
  std::size_t program = 1;
  for (; program < arguments.size() && arguments[program].starts_with('-'); ++program) {
    const std::string& given = arguments[program];
    if (given == "--") {
      arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(program));
      break;
    }
    if (given.starts_with("--") && given.ends_with('=')) {
      throw usage_error(given.substr(0, given.size() - 1) + " takes a value");
    }
    if (takes_next(app, given)) ++program;
  }
  if (program >= arguments.size()) return {};
  const auto at = arguments.begin() + static_cast<std::ptrdiff_t>(program);
  std::vector<std::string> behind(at + 1, arguments.end());
  arguments.erase(at + 1, arguments.end());
  arguments.insert(at, "--");
  return behind;
}

void add_record_command(CLI::App& app, invocation& run) {
  const auto options = std::make_shared<record_options>();
  CLI::App& command =
      *app.add_subcommand("record", "runs a program and writes its calls of malloc to a trace");
  add_record_options(command, *options);
  command.footer(record_exit_statuses);
  const auto set_program = [options](const std::string& name) { options->program = {name}; };
  command.add_option_function<std::string>("PROGRAM", set_program, "the program to run")
      ->type_name("")
      ->required();
  command.add_option("ARGUMENTS", run.program_arguments, "all that follows is for the program")
      ->type_name("");
  command.callback([options, &run] {
    if (!options->stacks.empty()) options->stack_depth = stack_depth_from(options->stacks);
    options->compress = options->compress || options->output.extension() == ".zst";
    if (options->compress && !can_compress()) {
      throw usage_error("traces can't be compressed: this program was built without zstd");
    }
    options->program.insert(options->program.end(), run.program_arguments.begin(),
                            run.program_arguments.end());
    run.status = record_or_say_why_not(*options);
  });
}

}  // namespace cistern::tool
