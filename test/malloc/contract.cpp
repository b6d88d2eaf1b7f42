// The malloc contract test: runs every case in a process of its own and says which failed.
#include "contract.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace contract {
namespace {

constexpr int skipped = 77;
constexpr unsigned most_seconds_per_case = 120;

test_case* first_case = nullptr;
bool cistern = false;
bool checked = false;
bool hardened = false;

std::size_t statm(int field) noexcept {
  std::array<char, 256> text{};
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  const ssize_t got = read(file, text.data(), text.size() - 1);
  close(file);
  if (got <= 0) fail(__FILE__, __LINE__, "/proc/self/statm can be read");
  char* at = text.data();
  for (int skip_field = 0; skip_field < field; ++skip_field) std::strtoull(at, &at, 10);
  return std::strtoull(at, nullptr, 10) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

test_case::test_case(const char* case_name, void (*case_body)()) noexcept : name(case_name), body(case_body) {
  // Sorted by name: the order of static initialisers over several files is nobody's choice.
  test_case** at = &first_case;
  while (*at != nullptr && std::strcmp((*at)->name, name) < 0) at = &(*at)->next;
  next = *at;
  *at = this;
}

void fail(const char* file, int line, const char* what) noexcept {
  std::array<char, 512> text{};
  const int length = std::snprintf(text.data(), text.size(), "%s:%d: not so: %s\n", file, line, what);
  if (write(STDERR_FILENO, text.data(), static_cast<std::size_t>(length)) < 0) _exit(2);
  _exit(1);
}

void skip(const char* why) noexcept {
  std::printf("      skipped: %s\n", why);
  std::fflush(stdout);
  _exit(skipped);
}

bool is_cistern() noexcept {
  return cistern;
}
bool is_checked() noexcept {
  return checked;
}
bool is_hardened() noexcept {
  return hardened;
}
std::size_t guarded_one_in() noexcept {
  const char* const one_in = std::getenv("CISTERN_SAMPLE_GUARD");
  return cistern && one_in != nullptr ? std::strtoull(one_in, nullptr, 10) : 0;
}

ending ending_of(void (*action)(const void*), const void* context) {
  ending seen;
  std::array<int, 2> ends{};
  MUST(pipe(ends.data()) == 0);
  const pid_t child = fork();
  MUST(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    action(context);
    _exit(0);
  }
  close(ends[1]);
  std::size_t used = 0;
  for (ssize_t got = 0; (got = read(ends[0], seen.text.data() + used, seen.text.size() - 1 - used)) > 0;) {
    used += static_cast<std::size_t>(got);
  }
  close(ends[0]);
  int state = 0;
  MUST(waitpid(child, &state, 0) == child);
  seen.signal = WIFSIGNALED(state) ? WTERMSIG(state) : 0;
  return seen;
}

bool dies_saying(const char* start, const char* end, const ending& seen, int signal) noexcept {
  const bool good = seen.signal == signal && std::strstr(seen.text.data(), start) != nullptr &&
                    std::strstr(seen.text.data(), end) != nullptr;
  if (!good) {
    std::fprintf(stderr, "expected %s...%s, and got signal %d: %s\n", start, end, seen.signal,
                 seen.text.data());
  }
  return good;
}

void fill(void* block, std::size_t bytes, unsigned seed) noexcept {
  auto* const at = static_cast<unsigned char*>(block);
  for (std::size_t i = 0; i < bytes; ++i) at[i] = static_cast<unsigned char>(seed + i * 31 + (i >> 8U));
}

bool is_filled(const void* block, std::size_t bytes, unsigned seed) noexcept {
  const auto* const at = static_cast<const unsigned char*>(block);
  for (std::size_t i = 0; i < bytes; ++i) {
    if (at[i] != static_cast<unsigned char>(seed + i * 31 + (i >> 8U))) return false;
  }
  return true;
}

std::size_t resident_bytes() noexcept {
  return statm(1);
}
std::size_t mapped_bytes() noexcept {
  return statm(0);
}
std::size_t mappings() noexcept {
  const int file = open("/proc/self/maps", O_RDONLY);
  MUST(file >= 0);
  std::array<char, 4096> part{};
  std::size_t lines = 0;
  for (ssize_t got = 0; (got = read(file, part.data(), part.size())) > 0;) {
    lines += static_cast<std::size_t>(std::count(part.begin(), part.begin() + got, '\n'));
  }
  close(file);
  return lines;
}

}  // namespace contract

namespace {

constexpr const char* usage =
    R"(Usage: malloc_contract [--malloc FILE [--checked | --hardened]] [CASE...]
       malloc_contract --list | --help

Runs the cases, all by default, each in a process of its own, on the malloc of this process (use LD_PRELOAD).

  --malloc FILE   every function of the malloc family must come from this library; it is held to the whole contract.
                  Without it, cases that glibc fulfils differently are skipped.
  --checked       the library is a checked build
  --hardened      it is a hardened one

Exit status: 0 no case failed, 1 one did, 2 wrong usage.
)";

/// Whether every function of the family comes from `file`; names those that don't.
bool comes_from(const char* file) {
  std::array<char, PATH_MAX> wanted{};
  if (realpath(file, wanted.data()) == nullptr) {
    std::fprintf(stderr, "malloc_contract: no file %s\n", file);
    return false;
  }
  bool good = true;
  for (const char* name : {"malloc",
                           "free",
                           "calloc",
                           "realloc",
                           "reallocarray",
                           "posix_memalign",
                           "aligned_alloc",
                           "memalign",
                           "valloc",
                           "pvalloc",
                           "malloc_usable_size",
                           "free_sized",
                           "free_aligned_sized",
                           "_Znwm",
                           "_Znam",
                           "_ZdlPv",
                           "_ZdaPv",
                           "_ZdlPvm",
                           "_ZdaPvm",
                           "_ZnwmSt11align_val_t",
                           "_ZnamSt11align_val_t",
                           "_ZdlPvSt11align_val_t",
                           "_ZdaPvSt11align_val_t",
                           "_ZdlPvmSt11align_val_t",
                           "_ZdaPvmSt11align_val_t",
                           "_ZnwmRKSt9nothrow_t",
                           "_ZnamRKSt9nothrow_t",
                           "_ZdlPvRKSt9nothrow_t",
                           "_ZdaPvRKSt9nothrow_t",
                           "_ZnwmSt11align_val_tRKSt9nothrow_t",
                           "_ZnamSt11align_val_tRKSt9nothrow_t",
                           "_ZdlPvSt11align_val_tRKSt9nothrow_t",
                           "_ZdaPvSt11align_val_tRKSt9nothrow_t"}) {
    Dl_info info{};
    void* const function = dlsym(RTLD_DEFAULT, name);
    std::array<char, PATH_MAX> found{};
    if (function == nullptr || dladdr(function, &info) == 0 ||
        realpath(info.dli_fname, found.data()) == nullptr || std::strcmp(found.data(), wanted.data()) != 0) {
      std::fprintf(stderr, "malloc_contract: %s is not %s's but %s's\n", name, file,
                   function == nullptr ? "nobody" : found.data());
      good = false;
    }
  }
  return good;
}

const contract::test_case* case_named(const char* name) {
  for (const auto* one = contract::first_case; one != nullptr; one = one->next) {
    if (std::strcmp(one->name, name) == 0) return one;
  }
  return nullptr;
}

/// Returns the status of the case's process: 0, 77, or how it failed.
int run_in_process(const char* name) {
  std::array<const char*, 5> arguments{"/proc/self/exe", "--run", name, nullptr, nullptr};
  if (contract::is_cistern())
    arguments[3] = contract::is_checked()    ? "cistern-checked"
                   : contract::is_hardened() ? "cistern-hardened"
                                             : "cistern";
  pid_t child = 0;
  if (posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, const_cast<char* const*>(arguments.data()),
                  environ) != 0) {
    return 1;
  }
  int state = 0;
  while (waitpid(child, &state, 0) == -1 && errno == EINTR) {
  }
  if (WIFSIGNALED(state)) {
    std::printf("      ended by signal %d (%s)\n", WTERMSIG(state), strsignal(WTERMSIG(state)));
    return 1;
  }
  return WEXITSTATUS(state);
}

bool run_and_report(const contract::test_case& one) {
  const int status = run_in_process(one.name);
  std::printf("%-6s %s\n", status == 0 ? "ok" : status == contract::skipped ? "skip" : "FAILED", one.name);
  std::fflush(stdout);
  return status == 0 || status == contract::skipped;
}

int run_here(const char* name, const char* held_to) {
  contract::cistern = held_to != nullptr;
  contract::checked = contract::cistern && std::strcmp(held_to, "cistern-checked") == 0;
  contract::hardened = contract::cistern && std::strcmp(held_to, "cistern-hardened") == 0;
  const auto* const one = case_named(name);
  if (one == nullptr) return 2;
  alarm(contract::most_seconds_per_case);  // a deadlock is a failure too
  one->body();
  return 0;
}

}  // namespace

namespace {

/// The cases named in `names`, all if there are none. Returns the exit status.
int run_cases(int count, char** names) {
  for (int i = 0; i < count; ++i) {
    if (case_named(names[i]) == nullptr) {
      std::fprintf(stderr, "malloc_contract: no case called %s; --list names them\n", names[i]);
      return 2;
    }
  }
  int failed = 0;
  for (const auto* one = contract::first_case; one != nullptr; one = one->next) {
    bool wanted = count == 0;
    for (int i = 0; i < count; ++i) wanted = wanted || std::strcmp(names[i], one->name) == 0;
    if (wanted && !run_and_report(*one)) ++failed;
  }
  if (failed > 0) std::fprintf(stderr, "malloc_contract: %d failed\n", failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count >= 3 && std::strcmp(arguments[1], "--run") == 0) {
    return run_here(arguments[2], count >= 4 ? arguments[3] : nullptr);
  }
  if (count == 2 && std::strcmp(arguments[1], "--help") == 0) {
    std::fputs(usage, stdout);
    return 0;
  }
  if (count == 2 && std::strcmp(arguments[1], "--list") == 0) {
    for (const auto* one = contract::first_case; one != nullptr; one = one->next) std::puts(one->name);
    return 0;
  }
  int at = 1;
  if (at + 1 < count && std::strcmp(arguments[at], "--malloc") == 0) {
    if (!comes_from(arguments[at + 1])) return 1;
    contract::cistern = true;
    at += 2;
    if (at < count && std::strcmp(arguments[at], "--checked") == 0) {
      contract::checked = true;
      ++at;
    } else if (at < count && std::strcmp(arguments[at], "--hardened") == 0) {
      contract::hardened = true;
      ++at;
    }
  }
  return run_cases(count - at, arguments + at);
}
