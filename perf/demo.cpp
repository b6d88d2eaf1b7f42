// demo: a word index over the files of a folder, built, queried and torn down under several memory resources.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "demo/corpus.hpp"
#include "demo/measure_index.hpp"
#include "demo/word_index.hpp"
#include "support/command_line.hpp"
#include "support/contestant.hpp"
#include "support/measure.hpp"
#include "support/peak_memory.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/table.hpp"

namespace {

constexpr const char* usage =
    R"(Usage: demo [options] [FOLDER]

Indexes the words of the text files under FOLDER (default: Cistern's own sources and docs): which word stands
in which line of which file. The index is built, queried and torn down again and again, with its memory from
new/delete, mimalloc, the standard's pools and Cistern's pools in turn; all must give the same index.

  --rounds N    rounds (default: as many as fit into half a minute, 3 to 15)
  --threads N   threads of the second table (default: one per core; 1: no second table)
  --max-mib N   read at most N MiB of text (default 8)
  --help        print this

Exit status: 0 if all indexes were the same, 1 if not or if something failed, 2 for a wrong option.
)";

struct options {
  std::string folder = CISTERN_DEMO_FOLDER;
  std::size_t rounds = 0;
  std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  std::size_t max_mib = 8;
  std::string memory_of;  ///< The program runs itself with this one, to measure one contestant's memory.
  bool help = false;
};

options parse(perf::arguments given) {
  options result;
  bool folder_given = false;
  while (given.next()) {
    const std::string argument = given.current();
    if (argument == "--rounds") {
      result.rounds = given.number(1000);
    } else if (argument == "--threads") {
      result.threads = given.number(256);
    } else if (argument == "--max-mib") {
      result.max_mib = given.number(1024);
    } else if (argument == "--memory-of") {
      result.memory_of = given.value();
    } else if (argument == "--help" || argument == "-h") {
      result.help = true;
    } else if (folder_given) {
      throw perf::usage_error("more than one folder: " + argument);
    } else if (argument.starts_with("-")) {
      given.refuse_unknown();
    } else {
      result.folder = argument;
      folder_given = true;
    }
  }
  return result;
}

demo::corpus read(const options& asked) {
  return demo::read_corpus(asked.folder, asked.max_mib << 20U);
}

/// 1234567 as "1,234,567".
std::string grouped(std::uint64_t value) {
  std::string text = std::to_string(value);
  for (std::size_t place = text.size(); place > 3;) {
    place -= 3;
    text.insert(place, 1, ',');
  }
  return text;
}

void print_memory(const options& asked) {
  for (const perf::contestant& each : perf::contestants()) {
    if (each.name != asked.memory_of) continue;
    const auto figures = demo::index_memory_here(read(asked), each, asked.threads);
    std::cout << figures.peak_bytes << ' ' << figures.held_bytes << ' ' << figures.given_back_bytes << '\n';
    return;
  }
  throw perf::usage_error("no memory resource is called " + asked.memory_of);
}

/// Each contestant in a process of its own.
void measure_memory(const options& asked, demo::index_comparison& all, perf::progress& progress) {
  for (demo::index_result& one : all.results) {
    progress.step("memory, " + std::string(one.who->name));
    const std::string answer = perf::output_of_this_program(
        {"--memory-of", std::string(one.who->name), "--threads", std::to_string(all.threads), "--max-mib",
         std::to_string(asked.max_mib), asked.folder});
    demo::memory_figures& memory = one.memory;
    if (std::sscanf(answer.c_str(), "%zu %zu %zu", &memory.peak_bytes, &memory.held_bytes,
                    &memory.given_back_bytes) != 3) {
      throw std::runtime_error("no memory figures in \"" + answer + '"');
    }
  }
}

std::string milliseconds(double seconds) {
  return perf::significant(seconds * 1e3) + " ms";
}

void print(const demo::index_comparison& all) {
  const auto baseline = std::find_if(all.results.begin(), all.results.end(),
                                     [](const auto& one) { return one.who->name == "new/delete"; });
  double slowest = 0;
  for (const auto& one : all.results) slowest = std::max(slowest, perf::median(one.seconds));
  perf::table table({"", "time a pass", "/ new's", "peak", "held after", "trimmed", "same", "time"});
  for (const auto& one : all.results) {
    const double time = perf::median(one.seconds);
    std::vector<double> ratios;
    for (std::size_t round = 0; round < one.seconds.size(); ++round) {
      ratios.push_back(one.seconds[round] / baseline->seconds[round]);
    }
    const auto bar = static_cast<std::size_t>(20 * time / slowest + 0.5);
    table.add({std::string(one.who->name), milliseconds(time), perf::two_decimals(perf::median(ratios)),
               perf::human_bytes(one.memory.peak_bytes), perf::human_bytes(one.memory.held_bytes),
               perf::human_bytes(one.memory.given_back_bytes), one.same_index ? "yes" : "NO",
               std::string(bar, '#') + std::string(20 - bar, ' ')});
  }
  std::cout << (all.threads == 1 ? "One thread" : std::to_string(all.threads) + " threads") << ": median of "
            << all.rounds << " rounds of " << all.passes_per_run << " passes each\n\n";
  table.print(std::cout);
  std::cout << '\n';
}

/// What the last of our pools that can do this job says about itself while an index stands in it.
void print_statistics(const demo::corpus& input, std::size_t threads) {
  for (const perf::contestant& each : perf::contestants()) {
    if (each.print_statistics == nullptr || (threads > 1 && !each.thread_safe)) continue;
    if (threads == 1 && each.thread_safe) continue;
    const auto resource = each.make(0);
    std::cout << each.name << " while the index stands:\n\n";
    static_cast<void>(demo::index_words(input, resource.get(), threads, [&](std::size_t thread) {
      if (thread == 0) each.print_statistics(std::cout, *resource);
    }));
    std::cout << '\n';
  }
}

void explain() {
  std::cout << "peak        what the index added to the resident memory of a process of its own\n"
               "held after  what of that was still there when the index was gone\n"
               "trimmed     and after all were asked to give back what they can: trim(), malloc_trim, "
               "mi_collect\n\n";
}

bool run(const options& asked) {
  const demo::corpus input = read(asked);
  std::cout << "Word index over " << grouped(input.texts.size()) << " files, "
            << perf::human_bytes(input.bytes) << ", "
            << (asked.folder == CISTERN_DEMO_FOLDER ? "Cistern's own sources and docs"
                                                    : "under " + asked.folder)
            << '\n';
  if (input.cut_off) {
    std::cout << "(Only files that fit into " << asked.max_mib << " MiB together; --max-mib changes that.)\n";
  }
  std::cout << "mimalloc " << perf::environment().back().substr(10) << "\n\n" << std::flush;
  if (const auto warning = perf::build_warning(); !warning.empty()) {
    std::cerr << "warning: " << warning << "\n\n";
  }
  bool same = true;
  demo::index_digest digest;
  std::vector<std::size_t> thread_counts{1};
  if (asked.threads > 1) thread_counts.push_back(asked.threads);
  for (const std::size_t threads : thread_counts) {
    perf::progress progress;
    progress.stage(threads == 1 ? "one thread" : std::to_string(threads) + " threads");
    const demo::index_plan plan{threads, asked.rounds, std::chrono::seconds(14)};
    auto all = demo::compare_indexing(input, plan, [&](const std::string& step) { progress.step(step); });
    measure_memory(asked, all, progress);
    progress.clear();
    print(all);
    same = same && all.all_same();
    digest = all.digest;
  }
  explain();
  for (const std::size_t threads : thread_counts) print_statistics(input, threads);
  std::cout << (same ? "All gave the same index: " : "THE INDEXES DIFFER; new/delete's has ")
            << grouped(digest.words) << " words, " << grouped(digest.occurrences) << " occurrences, checksum "
            << std::hex << digest.checksum << std::dec << ".\n";
  return same;
}

}  // namespace

int main(int argc, char** argv) {
  const auto body = [&] {
    const options asked = parse({argc, argv});
    if (asked.help) {
      std::cout << usage;
      return 0;
    }
    if (!asked.memory_of.empty()) {
      print_memory(asked);
      return 0;
    }
    return run(asked) ? 0 : 1;
  };
  return perf::run_program("demo", body, [](std::ostream& out) { out << "Try demo --help.\n"; });
}
