// demo: two jobs, a word index and message traffic, done with their memory from several resources.
#include <cistern/synchronized_pool_resource.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "demo/corpus.hpp"
#include "demo/measure_index.hpp"
#include "demo/measure_traffic.hpp"
#include "demo/memory_plot.hpp"
#include "demo/mimalloc.hpp"
#include "demo/text.hpp"
#include "demo/verdict.hpp"
#include "demo/word_index.hpp"
#include "support/process.hpp"
#include <unistd.h>

namespace {

constexpr const char* usage =
    R"(Usage: demo [options] [FOLDER]

Does two jobs again and again, with their memory from new/delete, mimalloc, the standard's pools and Cistern's
pools in turn, and prints what each took, what is better and what is worse:

  index     which word stands in which line of which text file under FOLDER (default: Cistern's own sources
            and docs): built, queried and torn down
  messages  messages of 1 to 256 KiB that come in bursts, are held a while and dropped by several threads;
            then it is quiet

All must come to the same result.

  --only JOB    this job alone
  --rounds N    rounds (default: as many as fit into less than a minute for everything)
  --threads N   threads of the second table of the index (default: one per core; 1: no second table)
  --max-mib N   read at most N MiB of text (default 8)
  --svg FILE    write the memory that was held over time during the messages to FILE, as a picture
  --bars KIND   draw it in the terminal with "blocks" or "plain" letters (default: what the terminal can show)
  --help        print this

Exit status: 0 if all results were the same, 1 if not or if something failed, 2 for a wrong option.
)";

class usage_error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct options {
  std::string folder = CISTERN_DEMO_FOLDER;
  std::string only;
  std::size_t rounds = 0;
  std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  std::size_t max_mib = 8;
  std::string svg_file;
  bool block_characters = demo::stdout_shows_blocks();
  std::string index_memory_of;  ///< The program runs itself with this one, to measure one taker's memory.
  std::string traffic_of;       ///< And with this one, for one run of the messages.
  bool help = false;

  [[nodiscard]] bool wants(const std::string& job) const { return only.empty() || only == job; }
};

std::size_t number(const std::string& option, const std::string& text, std::size_t most) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0 || value > most) {
    throw usage_error(option + " needs a number from 1 to " + std::to_string(most) + ", not \"" + text + '"');
  }
  return value;
}

const std::string& one_of(const std::string& option, const std::string& text,
                          const std::vector<std::string>& allowed) {
  const auto found = std::find(allowed.begin(), allowed.end(), text);
  if (found == allowed.end()) throw usage_error(option + " can't be \"" + text + '"');
  return text;
}

void set(options& asked, const std::string& option, const std::string& value) {
  if (option == "--only") {
    asked.only = one_of(option, value, {"index", "messages"});
  } else if (option == "--rounds") {
    asked.rounds = number(option, value, 1000);
  } else if (option == "--threads") {
    asked.threads = number(option, value, 256);
  } else if (option == "--max-mib") {
    asked.max_mib = number(option, value, 1024);
  } else if (option == "--svg") {
    asked.svg_file = value;
  } else if (option == "--bars") {
    asked.block_characters = one_of(option, value, {"blocks", "plain"}) == "blocks";
  } else if (option == "--index-memory-of") {
    asked.index_memory_of = value;
  } else if (option == "--traffic-of") {
    asked.traffic_of = value;
  } else {
    throw usage_error("unknown option " + option);
  }
}

options parse(const std::vector<std::string>& arguments) {
  options result;
  bool folder_given = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      result.help = true;
    } else if (argument.starts_with("-")) {
      if (i + 1 == arguments.size()) throw usage_error(argument + " is unknown, or needs a value");
      set(result, argument, arguments[++i]);
    } else if (folder_given) {
      throw usage_error("more than one folder: " + argument);
    } else {
      result.folder = argument;
      folder_given = true;
    }
  }
  return result;
}

/// What is being done, in a line on stderr that the next one overwrites; on terminals only.
void show_step(const std::string& text) {
  static const bool terminal = ::isatty(STDERR_FILENO) != 0;
  if (terminal) std::cerr << "\r\033[K" << text << std::flush;
}

demo::corpus read(const options& asked) {
  return demo::read_corpus(asked.folder, asked.max_mib << 20U);
}

void warn_of_build() {
#if defined(CISTERN_CHECKED) && CISTERN_CHECKED
  std::cerr
      << "warning: this is a checked build: cistern's figures include the checks; use the release preset\n";
#elif !defined(__OPTIMIZE__)
  std::cerr << "warning: this build isn't optimised; use the release preset\n";
#endif
}

void introduce() {
  std::cout
      << "What does a program gain whose memory comes from a pool? The same work, with its memory from\n\n";
  for (const demo::taker& each : demo::takers()) {
    std::cout << "  " << std::left << std::setw(16) << each.name << each.meaning;
    if (each.name == "mimalloc") std::cout << " (" << demo::mimalloc_version() << ')';
    std::cout << '\n';
  }
  std::cout << "\nIn all figures less is better.\n";
}

void title(const std::string& text) {
  std::cout << '\n' << text << '\n' << std::string(text.size(), '=') << "\n\n";
}

// The index

void print_index_memory(const options& asked) {
  const auto figures =
      demo::index_memory_here(read(asked), demo::taker_called(asked.index_memory_of), asked.threads);
  std::cout << figures.peak_bytes << ' ' << figures.held_bytes << ' ' << figures.given_back_bytes << '\n';
}

/// Each taker in a process of its own.
void measure_index_memory(const options& asked, demo::index_comparison& all) {
  for (demo::index_result& one : all.results) {
    show_step("memory of the index, " + std::string(one.who->name));
    const std::string answer = perf::output_of_this_program(
        {"--index-memory-of", std::string(one.who->name), "--threads", std::to_string(all.threads),
         "--max-mib", std::to_string(asked.max_mib), asked.folder});
    demo::memory_figures& memory = one.memory;
    if (std::sscanf(answer.c_str(), "%zu %zu %zu", &memory.peak_bytes, &memory.held_bytes,
                    &memory.given_back_bytes) != 3) {
      throw std::runtime_error("no memory figures in \"" + answer + '"');
    }
  }
}

template <class Results>
const auto& called(const Results& results, std::string_view name) {
  return *std::find_if(results.begin(), results.end(),
                       [name](const auto& one) { return one.who->name == name; });
}

/// Whom ours is compared with in words: all that others have, the standard's pool of the same kind only.
template <class Results>
auto rivals(const Results& results, const demo::taker& ours) {
  std::vector<const typename Results::value_type*> found;
  for (const auto& one : results) {
    const bool standards_other_pool =
        one.who->name == (ours.thread_safe ? std::string_view("std-unsync") : std::string_view("std-sync"));
    if (!one.who->ours && one.who->rewind == nullptr && !standards_other_pool) found.push_back(&one);
  }
  return found;
}

std::string rounds_text(std::size_t rounds) {
  return std::to_string(rounds) + (rounds == 1 ? " round" : " rounds");
}

constexpr double too_few_bytes = 1 << 20;  // no difference that a reader would care for

void print_index_table(const demo::index_comparison& all) {
  const std::vector<double>& baseline = called(all.results, demo::baseline_name).seconds;
  std::vector<std::vector<std::string>> rows{{"", "time", "/ new's", "most", "after it", "asked back"}};
  for (const auto& one : all.results) {
    rows.push_back({std::string(one.who->name), demo::milliseconds(demo::median(one.seconds)),
                    demo::two_decimals(demo::median_ratio(one.seconds, baseline)),
                    demo::human_bytes(one.memory.peak_bytes), demo::human_bytes(one.memory.held_bytes),
                    one.who->give_back != nullptr ? demo::human_bytes(one.memory.given_back_bytes) : "-"});
  }
  std::cout << (all.threads == 1 ? "One thread" : std::to_string(all.threads) + " threads") << ", median of "
            << rounds_text(all.rounds) << ":\n\n";
  demo::print_columns(std::cout, rows);
  std::cout << '\n';
}

void judge_index(const demo::index_comparison& all) {
  for (const auto& ours : all.results) {
    if (!ours.who->ours || (all.threads == 1 && ours.who->thread_safe)) continue;
    demo::verdict words(std::string(ours.who->name));
    for (const auto* other : rivals(all.results, *ours.who)) {
      const std::string name(other->who->name);
      words.add("time", demo::median_ratio(ours.seconds, other->seconds), 1, name);
      words.add("most memory", static_cast<double>(ours.memory.peak_bytes),
                static_cast<double>(other->memory.peak_bytes), name, too_few_bytes);
      words.add("memory after it", static_cast<double>(ours.memory.held_bytes),
                static_cast<double>(other->memory.held_bytes), name, too_few_bytes);
    }
    words.print(std::cout);
  }
}

bool run_index(const options& asked) {
  const demo::corpus input = read(asked);
  title("Word index over " + demo::grouped(input.texts.size()) + " files, " + demo::human_bytes(input.bytes) +
        ", " +
        (asked.folder == CISTERN_DEMO_FOLDER ? "Cistern's own sources and docs" : "under " + asked.folder));
  if (input.cut_off) {
    std::cout << "(Only files that fit into " << asked.max_mib << " MiB together; --max-mib changes that.)\n";
  }
  std::cout
      << "Hundreds of thousands of small blocks, of which most live until all of the index is torn down.\n"
         "The time of \"never frees\" is about that of the job itself, below which no pool can get.\n\n"
         "  most        what the index added to the memory of a process of its own\n"
         "  after it    what of that was still there when the index was gone\n"
         "  asked back  and after all gave back what they can: trim(), malloc_trim, mi_collect\n\n";
  bool same = true;
  demo::index_digest digest;
  std::vector<std::size_t> thread_counts{1};
  if (asked.threads > 1) thread_counts.push_back(asked.threads);
  for (const std::size_t threads : thread_counts) {
    const std::string stage =
        "index on " + std::to_string(threads) + (threads == 1 ? " thread: " : " threads: ");
    const demo::round_plan plan{.rounds = asked.rounds, .budget = std::chrono::seconds(7)};
    auto all = demo::compare_indexing(input, threads, plan,
                                      [&](const std::string& step) { show_step(stage + step); });
    measure_index_memory(asked, all);
    show_step("");
    print_index_table(all);
    judge_index(all);
    same = same && all.all_same();
    digest = all.digest;
  }
  std::cout << (same ? "All gave the same index: " : "THE INDEXES DIFFER; new/delete's has ")
            << demo::grouped(digest.words) << " words, " << demo::grouped(digest.occurrences)
            << " occurrences, checksum " << std::hex << digest.checksum << std::dec << ".\n";
  return same;
}

// The messages

struct traffic_figures {
  std::size_t most_bytes;
  std::size_t end_bytes;
  std::size_t given_back_bytes;
};

traffic_figures figures_of(const demo::traffic_results& one) {
  const auto held = one.mean_bytes(&demo::traffic_sample::held_bytes);
  return {*std::max_element(held.begin(), held.end()), held.back(), one.mean_given_back_bytes()};
}

void print_traffic_table(const demo::traffic_comparison& all) {
  const auto baseline = called(all.results, demo::baseline_name).processor_seconds();
  std::vector<std::vector<std::string>> rows{
      {"", "processor", "/ new's", "most", "when quiet", "asked back"}};
  for (const auto& one : all.results) {
    const auto seconds = one.processor_seconds();
    const auto figures = figures_of(one);
    rows.push_back({std::string(one.who->name), demo::milliseconds(demo::median(seconds)),
                    demo::two_decimals(demo::median_ratio(seconds, baseline)),
                    demo::human_bytes(figures.most_bytes), demo::human_bytes(figures.end_bytes),
                    one.who->give_back != nullptr ? demo::human_bytes(figures.given_back_bytes) : "-"});
  }
  std::cout << "Median of " << rounds_text(all.rounds) << ":\n\n";
  demo::print_columns(std::cout, rows);
  std::cout << '\n';
}

void judge_traffic(const demo::traffic_comparison& all) {
  for (const auto& ours : all.results) {
    if (!ours.who->ours) continue;
    const auto mine = figures_of(ours);
    demo::verdict words(std::string(ours.who->name));
    for (const auto* other : rivals(all.results, *ours.who)) {
      const std::string name(other->who->name);
      const auto theirs = figures_of(*other);
      words.add("processor time", demo::median_ratio(ours.processor_seconds(), other->processor_seconds()), 1,
                name);
      words.add("most memory", static_cast<double>(mine.most_bytes), static_cast<double>(theirs.most_bytes),
                name, too_few_bytes);
      words.add("memory when quiet", static_cast<double>(mine.end_bytes),
                static_cast<double>(theirs.end_bytes), name, too_few_bytes);
    }
    words.print(std::cout);
  }
}

void write_picture(const options& asked, const demo::memory_plot& plot) {
  if (asked.svg_file.empty()) return;
  std::ofstream file(asked.svg_file);
  demo::write_svg(file, plot, "Memory held by bursts of messages, and when it is quiet");
  if (!file.flush()) throw std::runtime_error("can't write " + asked.svg_file);
  std::cout << "The same as a picture: " << asked.svg_file << "\n\n";
}

bool run_messages(const options& asked) {
  using table = demo::timetable;
  title("Messages of 1 to 256 KiB, in bursts, on " + std::to_string(table::threads) + " threads");
  std::cout
      << table::bursts << " bursts of " << demo::human_bytes(table::burst_bytes)
      << ". Half of each is held for " << (table::tick * table::brief_ticks).count()
      << " ms, the other half until the burst is over, and then\n"
         "dropped at once; a message is dropped by another thread than received it. After the last burst\n"
         "only a few small messages come. Each run is a process of its own, and takes the same time by the\n"
         "clock; what differs is the processor's time, and the memory.\n"
         "\"never frees\" is slow here: memory that nobody has used yet is more work for the system.\n\n"
         "  processor   time of the processors, with what the system does for it\n"
         "  most        the most memory that the job added to the process\n"
         "  when quiet  what of that is there at the end of the quiet phase\n"
         "  asked back  and after all gave back what they can: trim(), malloc_trim, mi_collect\n\n";
  const demo::round_plan plan{.rounds = asked.rounds, .fewest = 1, .budget = std::chrono::seconds(28)};
  const auto all =
      demo::compare_traffic(plan, [](const std::string& step) { show_step("messages: " + step); });
  show_step("");
  print_traffic_table(all);
  judge_traffic(all);
  std::cout << "What a Cistern pool keeps when it is quiet is for the next burst: up to "
            << demo::human_bytes(cistern::synchronized_pool_resource().options().max_idle_bytes)
            << " and a little more,\nunless max_idle_bytes says otherwise, or until trim().\n\n";
  const demo::memory_plot plot = all.plot();
  std::cout << "Memory over time; a full bar is " << demo::human_bytes(plot.top_bytes())
            << ", at the right is the end:\n\n";
  demo::print_bars(std::cout, plot, asked.block_characters);
  std::cout << '\n';
  write_picture(asked, plot);
  const bool same = all.all_same();
  const demo::traffic_result& one = all.results.front().runs.front();
  std::cout << (same ? "All dropped the same " : "THE MESSAGES DIFFER; new/delete had ")
            << demo::grouped(one.messages) << " messages, checksum " << std::hex << one.checksum << std::dec
            << ".\n";
  return same;
}

int run(const options& asked) {
  if (asked.help) {
    std::cout << usage;
    return 0;
  }
  if (!asked.index_memory_of.empty()) {
    print_index_memory(asked);
    return 0;
  }
  if (!asked.traffic_of.empty()) {
    demo::print_traffic_here(std::cout, demo::taker_called(asked.traffic_of));
    return 0;
  }
  warn_of_build();
  introduce();
  bool same = true;
  if (asked.wants("index")) same = run_index(asked);
  if (asked.wants("messages")) same = run_messages(asked) && same;
  return same ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse({argv + 1, argv + argc}));
  } catch (const usage_error& error) {
    std::cerr << "demo: " << error.what() << "\nTry demo --help.\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "demo: " << error.what() << '\n';
    return 1;
  }
}
