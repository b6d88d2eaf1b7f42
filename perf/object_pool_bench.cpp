// object_pool_bench: acquire and give back under each policy, beside what people build by hand, interleaved.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "object_pools/contestants.hpp"
#include "object_pools/go_pools.hpp"
#include "support/command_line.hpp"
#include "support/measure.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/table.hpp"

namespace {

using perf::pool_contestant;
using perf::pool_workload;

constexpr const char* usage =
    R"(Usage: object_pool_bench [options]

Acquires an object, touches it and gives it back, again and again, through object pools of every policy and through
pools as people write them, interleaved in one session. Prints wall-clock nanoseconds per acquire + give back, all
threads together: the median of the rounds, then the fastest and the slowest; and how many times as fast our
counterpart of each other pool was (the median over the rounds).

)";

constexpr const char* options_usage = R"(
  --filter A,B,...   only these workloads
  --rounds N         rounds (default 9)
  --run-time MS      aimed at for one run (default 40; with 64 threads per core, and with coroutines, 10 times
                     that, so that each thread is interrupted several times)
  --quick            3 rounds of a quarter of that
  --go PROGRAM       the pools of perf/go, too, built as PROGRAM
  --csv FILE         write every round of every contestant
  --help             print this
)";

struct options {
  std::vector<std::string> filters;
  std::string csv_file;
  std::string go_program;
  std::size_t rounds = 9;
  std::chrono::duration<double> run_time = std::chrono::milliseconds{40};
};

std::vector<pool_workload> workloads() {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  return {{"serial", "one thread", 1, 16},
          {"per_core", "one thread per core", cores, 16},
          {"crowd", "64 threads per core, an object for each", 64 * cores, 64 * cores},
          {"scarce", "64 threads per core, 10 objects: most threads wait", 64 * cores, 10, true},
          {"coroutines", "64 coroutines on one thread, 10 objects, each held over a suspension", 1, 10, true,
           true},
          {"coroutines_per_core", "the same with 64 more and a thread for each core", cores, 10, true, true}};
}

// How many uses take about as long as wanted; also warms everything up.
std::size_t calibrate(const pool_contestant& who, const pool_workload& what,
                      std::chrono::duration<double> wanted) {
  double uses = 1000;
  for (;;) {
    const double taken = who.run(what, static_cast<std::size_t>(uses)) * 1e-9 * uses;
    if (taken >= wanted.count() / 2) {
      return static_cast<std::size_t>(uses * wanted.count() / taken) + 1;
    }
    // A short run is mostly the start of its threads, and says little about a long one.
    uses *= std::clamp(wanted.count() / taken, 2.0, 8.0);
  }
}

// Median over the rounds of the other's time divided by our counterpart's.
std::string gain(const std::vector<pool_contestant>& who, const std::vector<std::vector<double>>& rounds,
                 std::size_t other) {
  const auto ours = std::find_if(who.begin(), who.end(),
                                 [&](const auto& one) { return one.name == who[other].counterpart; });
  if (ours == who.end()) {
    return "";
  }
  std::vector<double> ratios;
  for (std::size_t round = 0; round < rounds[other].size(); ++round) {
    ratios.push_back(rounds[other][round] / rounds[static_cast<std::size_t>(ours - who.begin())][round]);
  }
  return perf::significant(perf::median(ratios)) + " x " + ours->name;
}

void measure(const pool_workload& what, const options& how, perf::go_pools* go, perf::table& times,
             std::ostream* csv, perf::progress& progress) {
  auto who = perf::cpp_pools(what);
  if (go != nullptr) {
    const auto more = go->contestants(what);
    who.insert(who.end(), more.begin(), more.end());
  }
  const bool long_runs = what.waits || what.threads > 2 * std::thread::hardware_concurrency();
  std::vector<std::size_t> uses;
  for (const pool_contestant& one : who) {
    progress.step("warming up " + one.name);
    uses.push_back(calibrate(one, what, how.run_time * (long_runs ? 10 : 1)));
  }
  std::vector<std::vector<double>> rounds(who.size());
  for (std::size_t round = 0; round < how.rounds; ++round) {
    progress.step("round " + std::to_string(round + 1));
    for (std::size_t i = 0; i < who.size(); ++i) {
      rounds[i].push_back(who[i].run(what, uses[i]));
      if (csv != nullptr) {
        *csv << what.name << ',' << what.threads << ',' << what.objects << ',' << who[i].name << ','
             << round + 1 << ',' << rounds[i].back() << '\n';
      }
    }
  }
  for (std::size_t i = 0; i < who.size(); ++i) {
    const auto [fastest, slowest] = std::minmax_element(rounds[i].begin(), rounds[i].end());
    times.add({i == 0 ? what.name : "", std::to_string(what.threads), std::to_string(what.objects),
               who[i].name, perf::significant(perf::median(rounds[i])), perf::significant(*fastest),
               perf::significant(*slowest), gain(who, rounds, i)});
  }
}

void print_usage(std::ostream& out) {
  out << usage;
  for (const pool_workload& what : workloads()) {
    out << "  " << what.name << std::string(21 - what.name.size(), ' ') << what.help << '\n';
  }
  out << options_usage;
}

// Prints the usage and returns false for --help.
bool parse(perf::arguments given, options& how) {
  while (given.next()) {
    const std::string option = given.current();
    if (option == "--help") {
      print_usage(std::cout);
      return false;
    } else if (option == "--quick") {
      how.rounds = 3;
      how.run_time /= 4;
    } else if (option == "--rounds") {
      how.rounds = given.number(999);
    } else if (option == "--run-time") {
      how.run_time = std::chrono::milliseconds{given.number(999)};
    } else if (option == "--go") {
      how.go_program = given.value();
    } else if (option == "--csv") {
      how.csv_file = given.value();
    } else if (option == "--filter") {
      how.filters = given.list();
      if (how.filters.empty()) throw perf::usage_error("--filter names no workload");
    } else {
      given.refuse_unknown();
    }
  }
  return true;
}

int run(const options& how) {
  const std::vector<pool_workload> all = workloads();
  for (const std::string& name : how.filters) {
    if (std::none_of(all.begin(), all.end(), [&](const auto& one) { return one.name == name; })) {
      throw perf::usage_error("no workload \"" + name + '"');
    }
  }
  std::unique_ptr<perf::go_pools> go;
  if (!how.go_program.empty()) {
    go = std::make_unique<perf::go_pools>(how.go_program);
  }
  std::ofstream csv;
  if (!how.csv_file.empty()) {
    csv.open(how.csv_file);
    csv << "workload,threads,objects,contestant,round,nanoseconds\n";
  }
  perf::table times({"workload", "threads", "objects", "pool", "ns", "fastest", "slowest", "we gain"});
  {
    perf::progress progress;
    for (const pool_workload& what : all) {
      if (how.filters.empty() ||
          std::find(how.filters.begin(), how.filters.end(), what.name) != how.filters.end()) {
        progress.stage(what.name);
        measure(what, how, go.get(), times, csv.is_open() ? &csv : nullptr, progress);
      }
    }
  }
  for (const std::string& line : perf::environment()) {
    std::cout << line << '\n';
  }
  if (go) {
    std::cout << "Go: " << go->version() << '\n';
  }
  std::cout << perf::build_warning() << '\n';
  times.print(std::cout);
  csv.flush();
  if (!how.csv_file.empty() && !csv) {
    throw std::runtime_error("cannot write " + how.csv_file);
  }
  return 0;
}

}  // namespace

int main(int count, char** values) {
  const auto body = [&] {
    options how;
    return parse({count, values}, how) ? run(how) : 0;
  };
  return perf::run_program("object_pool_bench", body, [](std::ostream& out) {
    out << '\n';
    print_usage(out);
  });
}
