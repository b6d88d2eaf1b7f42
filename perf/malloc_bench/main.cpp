// malloc_bench: the field's well-known allocator benchmarks, in one program that uses whatever malloc it is
// given.
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "malloc_bench/run_command.hpp"
#include "malloc_bench/shape.hpp"
#include <dlfcn.h>

namespace malloc_bench {

std::size_t parameters::rounds(std::size_t rounds) const noexcept {
  const auto scaled = static_cast<std::size_t>(std::llround(static_cast<double>(rounds) * scale));
  return scaled == 0 ? 1 : scaled;
}

std::span<const shape> shapes() noexcept {
  static constexpr std::array<shape, 15> all{{
      {.name = "alloc-test", .summary = "hot and cold slots, mostly small sizes", .run = run_alloc_test},
      {.name = "cache-scratch", .summary = "false sharing that the program began", .run = run_cache_scratch},
      {.name = "cache-thrash", .summary = "false sharing that the allocator makes", .run = run_cache_thrash},
      {.name = "glibc-simple", .summary = "runs of one size", .threaded = false, .run = run_glibc_simple},
      {.name = "glibc-thread", .summary = "a working set of 8 bytes to 32 KiB", .run = run_glibc_thread},
      {.name = "large-alone",
       .summary = "one large block at a time",
       .threaded = false,
       .run = run_large_alone},
      {.name = "large-filled",
       .summary = "20 large blocks, written",
       .threaded = false,
       .run = run_large_filled},
      {.name = "large-growth", .summary = "realloc up to 64 MiB", .threaded = false, .run = run_large_growth},
      {.name = "large-sparse",
       .summary = "20 large blocks, touched",
       .threaded = false,
       .run = run_large_sparse},
      {.name = "large-zeroed",
       .summary = "20 large blocks of calloc",
       .threaded = false,
       .run = run_large_zeroed},
      {.name = "larson", .summary = "threads hand their blocks to successors", .run = run_larson},
      {.name = "mstress", .summary = "short-lived threads exchange blocks", .run = run_mstress},
      {.name = "rptest", .summary = "bursts, wide sizes, a neighbour frees", .run = run_rptest},
      {.name = "sparse-survivors",
       .summary = "phases of other sizes, little stays",
       .threaded = false,
       .run = run_sparse_survivors},
      {.name = "xmalloc", .summary = "half allocates, half frees", .run = run_xmalloc},
  }};
  return all;
}

}  // namespace malloc_bench

namespace {

using malloc_bench::parameters;
using malloc_bench::shape;

constexpr const char* usage =
    R"(Usage: malloc_bench SHAPE [--threads N] [--scale X] [--seed N]
       malloc_bench run [--preload FILE] -- COMMAND [ARGUMENT...]
       malloc_bench --list | --help

Runs one of the field's well-known allocator benchmarks on the malloc of this process (use LD_PRELOAD), and prints
one line of JSON. "run" runs any command, with FILE preloaded, and prints a line of JSON with its wall, user and
system time, its peak resident set and its exit status as the last line of its own output.

  --threads N   threads (default 2; xmalloc wants pairs and rounds down)
  --scale X     X times the work (default 1: well under a second on one core of 2020)
  --seed N      seed of sizes and orders (default 1)

Exit status: 0; 1 when memory ran out or a block was found overwritten; 2 for a wrong command line.
)";

/// A mistake on the command line: message on stderr, exit status 2.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class Number>
Number parse(std::string_view option, std::string_view text, Number least, Number most) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || !(number >= least) || number > most) {
    throw usage_error("bad value for " + std::string(option) + ": " + std::string(text));
  }
  return number;
}

parameters parse_parameters(std::span<char*> arguments) {
  parameters how;
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    const std::string_view option = arguments[i];
    if (option != "--threads" && option != "--scale" && option != "--seed") {
      throw usage_error("unknown option " + std::string(option));
    }
    if (i + 1 == arguments.size()) throw usage_error(std::string(option) + " needs a value");
    const std::string_view value = arguments[i + 1];
    if (option == "--threads") how.threads = parse(option, value, 1U, 1024U);
    if (option == "--scale") how.scale = parse(option, value, 1e-6, 1e6);
    if (option == "--seed") how.seed = parse(option, value, std::uint64_t{0}, UINT64_MAX);
  }
  return how;
}

const shape& shape_named(std::string_view name) {
  for (const shape& one : malloc_bench::shapes()) {
    if (one.name == name) return one;
  }
  throw usage_error("no shape called " + std::string(name) + "; --list names them");
}

/// The file that malloc comes from, so that a preload that failed is noticed.
std::string file_of_malloc() {
  Dl_info info{};
  void* const function = dlsym(RTLD_DEFAULT, "malloc");
  if (function == nullptr || dladdr(function, &info) == 0 || info.dli_fname == nullptr) return {};
  return info.dli_fname;
}

int run_shape(const shape& one, const parameters& how) {
  const auto took = one.run(how);
  const double seconds = std::chrono::duration<double>(took.elapsed).count();
  std::printf(
      "{\"shape\": \"%s\", \"threads\": %u, \"operations\": %llu, \"seconds\": %.6f, \"ns_per_operation\": "
      "%.3f, "
      "\"malloc\": \"%s\"}\n",
      std::string(one.name).c_str(), one.threaded ? how.threads : 1U,
      static_cast<unsigned long long>(took.operations), seconds,
      seconds * 1e9 / static_cast<double>(took.operations), file_of_malloc().c_str());
  return 0;
}

int run_other(std::span<char*> arguments) {
  std::string preload;
  if (arguments.size() >= 2 && std::string_view(arguments[0]) == "--preload") {
    preload = arguments[1];
    arguments = arguments.subspan(2);
  }
  if (arguments.size() < 2 || std::string_view(arguments[0]) != "--") {
    throw usage_error("run needs -- and a command");
  }
  const auto cost = malloc_bench::run_command(arguments.subspan(1), preload);
  std::printf(
      "{\"wall_seconds\": %.6f, \"user_seconds\": %.6f, \"system_seconds\": %.6f, \"peak_rss_bytes\": %llu, "
      "\"status\": %d}\n",
      std::chrono::duration<double>(cost.wall).count(), std::chrono::duration<double>(cost.user).count(),
      std::chrono::duration<double>(cost.system).count(),
      static_cast<unsigned long long>(cost.peak_rss_bytes), cost.status);
  return cost.status;
}

void list() {
  for (const shape& one : malloc_bench::shapes()) {
    std::printf("%-16s %s\n", std::string(one.name).c_str(), std::string(one.summary).c_str());
  }
}

int dispatch(std::span<char*> arguments) {
  if (arguments.empty()) throw usage_error("name a shape; --help tells more");
  const std::string_view what = arguments[0];
  if (what == "--help") {
    std::fputs(usage, stdout);
    return 0;
  }
  if (what == "--list") {
    list();
    return 0;
  }
  if (what == "run") return run_other(arguments.subspan(1));
  return run_shape(shape_named(what), parse_parameters(arguments.subspan(1)));
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return dispatch(std::span(arguments, static_cast<std::size_t>(count)).subspan(1));
  } catch (const usage_error& error) {
    std::fprintf(stderr, "malloc_bench: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "malloc_bench: %s\n", error.what());
    return 1;
  }
}
