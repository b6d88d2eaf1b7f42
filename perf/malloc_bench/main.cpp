// malloc_bench: the field's well-known allocator benchmarks, in one program that uses whatever malloc it is
// given; and programs under another malloc, their time and peak memory taken from outside.
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "malloc_bench/shape.hpp"
#include "support/command_line.hpp"
#include <dlfcn.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using malloc_bench::parameters;

struct shape {
  const char* name;
  const char* summary;
  malloc_bench::measured (*run)(const parameters&);
};

constexpr shape shapes[] = {
    {"aligned", "posix_memalign up to half a page; one thread", malloc_bench::run_aligned},
    {"all-classes", "2,000 blocks up to 32 KiB; one thread", malloc_bench::run_all_classes},
    {"alloc-test", "hot and cold slots, mostly small sizes", malloc_bench::run_alloc_test},
    {"cache-scratch", "false sharing that the program began", malloc_bench::run_cache_scratch},
    {"cache-thrash", "false sharing that the allocator makes", malloc_bench::run_cache_thrash},
    {"glibc-simple", "runs of one size; one thread", malloc_bench::run_glibc_simple},
    {"glibc-thread", "a working set of 8 bytes to 32 KiB", malloc_bench::run_glibc_thread},
    {"large-alone", "one large block at a time; one thread", malloc_bench::run_large_alone},
    {"large-fall", "8,000 blocks up, then down at random; one thread", malloc_bench::run_large_fall},
    {"large-filled", "20 large blocks, written; one thread", malloc_bench::run_large_filled},
    {"large-growth", "realloc up to 64 MiB; one thread", malloc_bench::run_large_growth},
    {"large-sparse", "20 large blocks, touched; one thread", malloc_bench::run_large_sparse},
    {"large-zeroed", "20 large blocks of calloc; one thread", malloc_bench::run_large_zeroed},
    {"larson", "threads hand their blocks to successors", malloc_bench::run_larson},
    {"mixed-sizes", "300,000 blocks, written; one thread", malloc_bench::run_mixed_sizes},
    {"mstress", "short-lived threads exchange blocks", malloc_bench::run_mstress},
    {"rptest", "bursts, wide sizes, a neighbour frees", malloc_bench::run_rptest},
    {"sparse-survivors", "phases of other sizes, little stays; one thread",
     malloc_bench::run_sparse_survivors},
    {"strings", "realloc by 16 bytes up to 4 KiB; one thread", malloc_bench::run_strings},
    {"xmalloc", "half allocates, half frees", malloc_bench::run_xmalloc},
};

constexpr const char* help =
    R"(Usage: malloc_bench SHAPE [options] | --list
       malloc_bench run [--preload=FILE] -- COMMAND [ARGUMENT...]

Runs one of the field's well-known allocator benchmarks on the malloc of this process (use LD_PRELOAD), and prints
one line of JSON. "run" runs any command, with FILE preloaded, and prints a line of JSON with its wall, user and
system time and its peak resident set, as the last line of its own output; its exit status is the command's.
Otherwise that is 0; 1 when memory ran out or a block was found overwritten; 2 for a wrong command line.
)";

template <class Number>
auto into(Number& number, Number least, Number most, const char* what) {
  return [=, &number](const std::string& text) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || !(number >= least) || number > most) {
      throw perf::usage_error(std::string("bad value for ") + what + ": " + text);
    }
  };
}

/// The file that malloc comes from, so that a preload that failed is noticed.
std::string file_of_malloc() {
  Dl_info info{};
  void* const function = dlsym(RTLD_DEFAULT, "malloc");
  if (function == nullptr || dladdr(function, &info) == 0 || info.dli_fname == nullptr) return {};
  return info.dli_fname;
}

int run_shape(std::string_view name, const parameters& how) {
  for (const shape& each : shapes) {
    if (each.name != name) continue;
    const auto took = each.run(how);
    std::printf("{\"operations\": %llu, \"ns_per_operation\": %.3f, \"malloc\": \"%s\"}\n",
                static_cast<unsigned long long>(took.operations),
                static_cast<double>(took.elapsed.count()) / static_cast<double>(took.operations),
                file_of_malloc().c_str());
    return 0;
  }
  throw perf::usage_error("no shape called " + std::string(name) + "; --list names them");
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

rusage wait_for(pid_t child, int& state) {
  rusage usage{};
  while (wait4(child, &state, 0, &usage) == -1) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "wait4");
  }
  return usage;
}

/// Linux counts what a process held before exec towards its peak, so the one who starts a command must be
/// small: this program is (4 MiB), a script's interpreter isn't. The peak is that of the largest process
/// among the command and the children it waited for.
int run_command(std::vector<char*> command, const std::string& preload) {
  command.push_back(nullptr);
  if (::unsetenv("LD_PRELOAD") != 0 ||
      (!preload.empty() && ::setenv("LD_PRELOAD", preload.c_str(), 1) != 0)) {
    throw std::system_error(errno, std::generic_category(), "LD_PRELOAD");
  }
  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, command[0], nullptr, nullptr, command.data(), environ);
  if (error != 0) throw std::system_error(error, std::generic_category(), command[0]);
  int state = 0;
  const rusage usage = wait_for(child, state);
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  std::printf(
      "{\"wall_seconds\": %.6f, \"user_seconds\": %.6f, \"system_seconds\": %.6f, \"peak_rss_bytes\": "
      "%llu}\n",
      wall.count(), seconds(usage.ru_utime), seconds(usage.ru_stime),
      static_cast<unsigned long long>(usage.ru_maxrss) * 1024);
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

int list() {
  for (const shape& each : shapes) std::printf("%-16s %s\n", each.name, each.summary);
  return 0;
}

int run(int count, char** values) {
  parameters how;
  std::string preload;
  bool listing = false;
  bool helping = false;
  const std::vector<perf::own_option> options{
      {"threads", "N", "threads (default 2; xmalloc wants pairs and rounds down)",
       into(how.threads, 1U, 1024U, "--threads")},
      {"scale", "X", "X times the work (default 1: well under a second on one core of 2020)",
       into(how.scale, 1e-6, 1e6, "--scale")},
      {"seed", "N", "seed of sizes and orders (default 1)",
       into(how.seed, std::uint64_t{0}, UINT64_MAX, "--seed")},
      {"preload", "FILE", "what \"run\" preloads", [&](const std::string& file) { preload = file; }},
      {"list", "", "print the names of the shapes", [&](const std::string&) { listing = true; }},
      {"help", "", "print this", [&](const std::string&) { helping = true; }},
  };
  const std::vector<char*> others = perf::take_options(options, count, values);
  if (helping) return std::printf("%s%s", help, perf::describe(options).c_str()) < 0;
  if (listing) return list();
  if (others.size() > 3 && std::string_view(others[1]) == "run" && std::string_view(others[2]) == "--") {
    return run_command({others.begin() + 3, others.end()}, preload);
  }
  if (others.size() != 2) throw perf::usage_error("name one shape, or run -- and a command");
  return run_shape(others[1], how);
}

}  // namespace

int main(int count, char** values) {
  return perf::run_program("malloc_bench", [&] { return run(count, values); });
}
