// Threads of the pools in every order that seeds come up with.
//
//   schedules [--seeds N] [--first N] [--minutes M] [SCENARIO...]     a failure names the seed that shows it
//   again
#include <cistern/synchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "scenarios.hpp"
#include "scheduler.hpp"
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::test_support {
namespace {

constexpr unsigned seconds_for_a_seed = 200;

/// What there is to say if this seed of this scenario fails.
std::array<char, 128> failure{};

// Not through stdout, which takes memory of malloc: who fails may be within it.
void say(const char* text) {
  (void)!::write(STDOUT_FILENO, text, std::strlen(text));
}

}  // namespace

void fail(const char* what) {
  say(what);
  say("\n");
  std::abort();
}

void run_in_child(const std::function<void()>& body) {
  const ::pid_t child = ::fork();
  if (child == 0) {
    ::alarm(seconds_for_a_seed);
    body();
    ::_exit(0);
  }
  int status = 0;
  demand(child > 0 && ::waitpid(child, &status, 0) == child, "no child");
  demand(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child of a fork failed");
}

namespace {

extern "C" void out_of_time(int) {
  fail("it hangs");
}

// Says which seed it was, and lets the process end as it would.
extern "C" void crashed(int) {
  say(failure.data());
}

std::uint64_t number_in(const char* text) {
  char* end = nullptr;
  const std::uint64_t value = text != nullptr ? std::strtoull(text, &end, 10) : 0;
  if (end == nullptr || *end != '\0' || end == text) {
    std::fprintf(stderr, "schedules: a number is expected\n");
    std::exit(2);
  }
  return value;
}

// As only one thread runs at a time, another processor would only make each change of threads slow.
void stay_on_one_processor() {
  const int processor = ::sched_getcpu();
  if (processor < 0) return;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<unsigned>(processor), &only);
  (void)::sched_setaffinity(0, sizeof only, &only);
}

void run(const scenario& one, std::uint64_t seed) {
  std::snprintf(failure.data(), failure.size(), "FAILED: %s, seed %llu\n", one.name,
                static_cast<unsigned long long>(seed));
  ::alarm(seconds_for_a_seed);
  random_numbers random(static_cast<unsigned>(seed));
  one.run(random, seed);
}

}  // namespace
}  // namespace cistern::test_support

using namespace cistern::test_support;

int main(int count, char** arguments) {
  std::uint64_t seeds = 12;
  std::uint64_t first = 1;
  std::uint64_t minutes = 0;
  std::vector<std::string_view> wanted;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = arguments[i];
    std::uint64_t* const number = word == "--seeds"     ? &seeds
                                  : word == "--first"   ? &first
                                  : word == "--minutes" ? &minutes
                                                        : nullptr;
    if (number != nullptr) {
      *number = number_in(arguments[++i]);
    } else {
      wanted.push_back(word);
    }
  }
  std::vector<scenario> scenarios = memory_scenarios();
  for (const scenario& each : object_scenarios()) scenarios.push_back(each);
  const auto is_known = [&](std::string_view name) {
    return std::any_of(scenarios.begin(), scenarios.end(),
                       [&](const scenario& each) { return each.name == name; });
  };
  if (!std::all_of(wanted.begin(), wanted.end(), is_known)) {
    for (const scenario& each : scenarios) std::fprintf(stderr, "%s\n", each.name);
    return 2;
  }
  std::signal(SIGALRM, out_of_time);
  struct sigaction once {};
  once.sa_handler = crashed;
  once.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT}) ::sigaction(signal, &once, nullptr);
  stay_on_one_processor();
  const cistern::synchronized_pool_resource before_the_first_thread;  // the key for the end of threads
  const auto started = std::chrono::steady_clock::now();
  std::uint64_t done = 0;
  for (std::uint64_t seed = first; seed - first < seeds; ++seed) {
    if (minutes != 0 && std::chrono::steady_clock::now() - started > std::chrono::minutes(minutes)) break;
    for (const scenario& each : scenarios) {
      const bool all = wanted.empty();
      if (all || std::find(wanted.begin(), wanted.end(), each.name) != wanted.end()) run(each, seed);
    }
    ++done;
  }
  ::alarm(0);
  std::printf("%llu seeds, %llu changes of threads\n", static_cast<unsigned long long>(done),
              static_cast<unsigned long long>(switches()));
  return done == 0 ? 1 : 0;
}
