#include "record_command.hpp"

#include <cistern/adaptor/trace_reader.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <optional>
#include <set>
#include <system_error>

#include "../base/statistics_text.hpp"
#include "size_text.hpp"
#include "usage_error.hpp"
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::tool {

const char* const record_usage =
    R"(usage: cistern-trace record [OPTIONS] [--] PROGRAM [ARGUMENTS...]

Runs PROGRAM, and writes every call of malloc and its family to a trace, to be printed, replayed, or advised on.

Options:
  -o, --output FILE   the trace; written over if it is there. Else PROGRAM.NUMBER.trace in the working directory
  --children          record the processes that it forks, and the programs that it and they become, each into a
                      file of its own beside FILE: FILE.PROCESS, FILE.PROCESS.2, ...
  --max-size SIZE     end a trace when it has grown to so many bytes (K, M and G stand for powers of 1024); the
                      program goes on
  --sample SIZE       record one allocation in SIZE bytes, on average, and what becomes of those blocks
  --stacks[=DEPTH]    record from where each call was made: up to DEPTH places (1 to 64; 16 if none is given)
  -q, --quiet         no summary

Exit status: that of PROGRAM; 128 and the signal's number if a signal ended it; 127 if there is no such program, 126 if
it can't be run; 125 if it isn't recorded, or the trace can't be read; 2 if the arguments make no sense.
)";

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
  unsigned stack_depth = 0;        // 0: no stacks.
  bool children = false;
  bool quiet = false;
  bool help = false;
};

[[nodiscard]] std::uint64_t size_of(const std::string& option, const std::string& text) {
  const std::optional<std::uint64_t> size = size_from_text(text);
  if (!size || *size == 0) throw usage_error(option + " takes a size, as 4096, 64K, 100M or 2G: " + text);
  return *size;
}

constexpr unsigned usual_stack_depth = 16;
constexpr unsigned most_stack_depth = 64;

[[nodiscard]] unsigned depth_of(const std::string& option, const std::string& text) {
  unsigned depth = 0;
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, depth);
  if (error != std::errc() || last != end || depth == 0 || depth > most_stack_depth) {
    throw usage_error(option + " takes a depth from 1 to 64: " + text);
  }
  return depth;
}

[[nodiscard]] bool takes_value(const std::string& option) {
  return option == "-o" || option == "--output" || option == "--max-size" || option == "--sample";
}

void set_value(record_options& options, const std::string& option, const std::string& value) {
  if (value.empty()) throw usage_error(option + " takes a value");
  if (option == "--max-size") {
    options.max_bytes = size_of(option, value);
  } else if (option == "--sample") {
    options.sample_bytes = size_of(option, value);
  } else if (option == "--stacks") {
    options.stack_depth = depth_of(option, value);
  } else {
    options.output = value;
  }
}

void set_flag(record_options& options, const std::string& option) {
  if (option == "--children") {
    options.children = true;
  } else if (option == "--stacks") {
    options.stack_depth = usual_stack_depth;
  } else if (option == "-q" || option == "--quiet") {
    options.quiet = true;
  } else if (option == "-h" || option == "--help") {
    options.help = true;
  } else {
    throw usage_error("no such option: " + option);
  }
}

[[nodiscard]] record_options parse(const std::vector<std::string>& arguments) {
  record_options options;
  auto next = arguments.begin();
  while (next != arguments.end() && next->starts_with('-')) {
    const std::string& given = *next++;
    if (given == "--") break;
    const std::size_t equals = given.starts_with("--") ? given.find('=') : std::string::npos;
    const std::string option = given.substr(0, equals);
    if (equals != std::string::npos && (takes_value(option) || option == "--stacks")) {
      set_value(options, option, given.substr(equals + 1));
    } else if (!takes_value(option)) {
      set_flag(options, given);
    } else {
      set_value(options, option, next != arguments.end() ? *next++ : std::string());
    }
  }
  options.program.assign(next, arguments.end());
  if (options.program.empty() && !options.help) throw usage_error("no program to record");
  return options;
}

/// Beside the tool, as in a build, or where it is installed.
[[nodiscard]] std::filesystem::path record_library() {
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  for (const char* place : {CISTERN_RECORD_LIBRARY_PLACES}) {
    std::filesystem::path found = (folder / place / "libcistern-record.so").lexically_normal();
    if (std::filesystem::exists(found)) return found;
  }
  throw std::runtime_error("libcistern-record.so isn't where it was installed, seen from " + folder.string());
}

/// Removes an old trace: the library writes new files only.
void make_way(const std::filesystem::path& output) {
  const auto status = std::filesystem::symlink_status(output);
  if (!std::filesystem::exists(status)) return;
  if (!std::filesystem::is_regular_file(status)) {
    throw std::runtime_error(output.string() + " is there, and is no regular file");
  }
  std::filesystem::remove(output);
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

[[nodiscard]] ended_program run_program(const record_options& options, const std::filesystem::path& output) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const std::filesystem::path library = record_library();
  std::cout.flush();
  ended_program ended;
  ended.process = ::fork();
  if (ended.process < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (ended.process == 0) {
    set_environment(options, library, output);
    become(options.program, ends[1]);
  }
  // A key that is meant for the program comes to us as well: the summary is still to be written.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGQUIT, SIG_IGN);
  ::close(ends[1]);
  (void)!::read(ends[0], &ended.exec_error, sizeof ended.exec_error);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(ended.process, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  ended.status = WIFSIGNALED(status) ? ended_by_signal + WTERMSIG(status) : WEXITSTATUS(status);
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
    trace.emplace(trace_from_file(path));
    for (trace_event event; trace->next(event);) {
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

/// The traces of children, FILE.PROCESS[.NUMBER], that were written since `started`.
[[nodiscard]] std::vector<std::filesystem::path> traces_beside(const std::filesystem::path& output,
                                                               std::filesystem::file_time_type started) {
  std::vector<std::filesystem::path> found;
  const std::string prefix = output.filename().string() + ".";
  for (const auto& entry : std::filesystem::directory_iterator(output.parent_path())) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) &&
        name.find_first_not_of("0123456789.", prefix.size()) == std::string::npos &&
        entry.last_write_time() >= started) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

int record(const std::vector<std::string>& arguments) {
  const record_options options = parse(arguments);
  if (options.help) {
    std::cout << record_usage;
    return 0;
  }
  // The number is that of this process: that of the program is known only when it is there.
  std::filesystem::path output = options.output;
  if (output.empty()) {
    output = std::filesystem::path(options.program[0]).filename();
    output += "." + std::to_string(::getpid()) + ".trace";
  }
  output = std::filesystem::absolute(output);
  make_way(output);
  const auto started = std::filesystem::file_time_type::clock::now() - std::chrono::seconds(1);
  const ended_program ended = run_program(options, output);
  if (ended.exec_error != 0) {
    std::cerr << "cistern-trace: cannot run " << options.program[0] << ": "
              << std::generic_category().message(ended.exec_error) << '\n';
    return ended.status;
  }
  if (!std::filesystem::exists(output)) {
    std::cerr << "cistern-trace: " << options.program[0]
              << " was not recorded: it is linked statically, runs with the rights of its owner, or "
              << output.string() << " can't be written\n";
    return ended.status != 0 ? ended.status : not_recorded;
  }
  bool is_sound = describe(output, options.quiet);
  if (options.children) {
    for (const auto& each : traces_beside(output, started))
      is_sound = describe(each, options.quiet) && is_sound;
  }
  return ended.status != 0 || is_sound ? ended.status : not_recorded;
}

}  // namespace cistern::tool
