#include "support/report.hpp"

#include <algorithm>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <ostream>
#include <set>
#include <string>
#include <thread>

#include "support/mimalloc_resource.hpp"
#include "support/snmalloc_resource.hpp"
#include "support/table.hpp"
#include <sys/utsname.h>

namespace perf {
namespace {

using contestant_list = std::vector<const contestant*>;

constexpr int name_width = 30;
constexpr int cell_width = 15;

const result* find(const comparison& one, std::string_view name) {
  const auto found = std::find_if(one.results.begin(), one.results.end(),
                                  [name](const result& each) { return each.who->name == name; });
  return found == one.results.end() ? nullptr : &*found;
}

/// Whom times are given relative to: the reference, or the first one if the reference doesn't take part.
std::string reference_among(const contestant_list& who) {
  const bool there = std::any_of(who.begin(), who.end(),
                                 [](const contestant* each) { return each->name == reference_name; });
  return std::string(there ? reference_name : who.front()->name);
}

/// Likewise, among those who ran one workload.
const result& reference(const comparison& one) {
  const result* found = find(one, one.what->reference.empty() ? reference_name : one.what->reference);
  return found != nullptr ? *found : one.results.front();
}

std::string time_cell(const comparison& one, const contestant& who) {
  const result* each = find(one, who.name);
  if (each == nullptr) return "-";
  return significant(each->nanoseconds) + " (" + two_decimals(time_ratio(*each, reference(one))) + ")";
}

/// `bytes` points to the figure of `result` to show.
std::string memory_cell(const comparison& one, const contestant& who, std::size_t result::*bytes) {
  const result* each = find(one, who.name);
  if (each == nullptr || each->peak_bytes == 0) return "-";
  const std::size_t base = reference(one).*bytes;
  const std::string text = human_bytes(each->*bytes);
  if (base == 0) return text;
  return text + " (" + two_decimals(static_cast<double>(each->*bytes) / static_cast<double>(base)) + ")";
}

std::string peak_cell(const comparison& one, const contestant& who) {
  return memory_cell(one, who, &result::peak_bytes);
}

std::string growth_cell(const comparison& one, const contestant& who) {
  return memory_cell(one, who, &result::growth_bytes);
}

std::string held_cell(const comparison& one, const contestant& who) {
  return one.what->hold == nullptr ? "-" : memory_cell(one, who, &result::held_bytes);
}

double growth_over_asked(const comparison& one, const result& each) {
  return static_cast<double>(each.growth_bytes) / static_cast<double>(one.asked_bytes);
}

std::string asked_cell(const comparison& one, const contestant& who) {
  const result* each = find(one, who.name);
  return each == nullptr || each->peak_bytes == 0 ? "-" : two_decimals(growth_over_asked(one, *each));
}

/// Workloads whose figures are averaged together.
struct group {
  std::string name;
  std::vector<const comparison*> members;
};

std::vector<group> groups(const std::vector<comparison>& all) {
  group single{"single thread", {}};
  group threaded{"threads, all", {}};
  std::set<unsigned> counts;
  std::vector<group> named;
  for (const comparison& one : all) {
    if (const std::string_view name = one.what->group; !name.empty()) {
      if (named.empty() || named.back().name != name) named.push_back({std::string(name), {}});
      named.back().members.push_back(&one);
      continue;
    }
    (one.what->threads == 0 ? single : threaded).members.push_back(&one);
    if (one.what->threads != 0) counts.insert(one.what->threads);
  }
  std::vector<group> result{std::move(single)};
  for (const unsigned count : counts) {
    group some{"threads: " + std::to_string(count), {}};
    std::copy_if(threaded.members.begin(), threaded.members.end(), std::back_inserter(some.members),
                 [count](const comparison* one) { return one->what->threads == count; });
    result.push_back(std::move(some));
  }
  result.push_back(std::move(threaded));
  std::move(named.begin(), named.end(), std::back_inserter(result));
  std::erase_if(result, [](const group& each) { return each.members.empty(); });
  return result;
}

std::vector<std::string> header(std::string first, const contestant_list& who) {
  std::vector<std::string> names{std::move(first)};
  for (const contestant* each : who) names.emplace_back(each->name);
  return names;
}

template <class Cell>
table per_workload(const std::vector<comparison>& all, const contestant_list& who, Cell cell) {
  table result(header("workload", who));
  for (const comparison& one : all) {
    std::vector<std::string> row{one.what->name};
    for (const contestant* each : who) row.push_back(cell(one, *each));
    result.add(std::move(row));
  }
  return result;
}

/// Time relative to the reference's, in the geometric mean over the workloads both ran.
table means(const std::vector<comparison>& all, const contestant_list& who) {
  table result(header("time / " + reference_among(who) + "'s", who));
  for (const group& some : groups(all)) {
    std::vector<std::string> row{some.name};
    for (const contestant* each : who) {
      std::vector<double> ratios;
      for (const comparison* one : some.members) {
        if (const auto* mine = find(*one, each->name)) ratios.push_back(time_ratio(*mine, reference(*one)));
      }
      row.push_back(ratios.empty() ? "-" : two_decimals(geometric_mean(ratios)));
    }
    result.add(std::move(row));
  }
  return result;
}

std::vector<std::string> gain_row(const group& some, const contestant& ours, const contestant& other) {
  std::vector<double> gains;
  double worst = 0;
  std::string worst_name;
  for (const comparison* one : some.members) {
    const result* mine = find(*one, ours.name);
    const result* theirs = find(*one, other.name);
    if (mine == nullptr || theirs == nullptr) continue;
    gains.push_back(time_ratio(*theirs, *mine));
    if (gains.size() == 1 || gains.back() < worst) {
      worst = gains.back();
      worst_name = one->what->name;
    }
  }
  if (gains.empty()) return {};
  return {some.name + ": " + std::string(ours.name) + " against " + std::string(other.name),
          std::to_string(gains.size()), two_decimals(geometric_mean(gains)), two_decimals(worst), worst_name};
}

/// For each of our pools and every other contestant: how many times faster ours is.
table gains(const std::vector<comparison>& all, const contestant_list& who) {
  table result({"times faster (1 = equally fast)", "workloads", "geometric mean", "worst", "on"});
  for (const group& some : groups(all)) {
    for (const contestant* ours : who) {
      if (!ours->ours) continue;
      for (const contestant* other : who) {
        if (other->ours) continue;
        if (auto row = gain_row(some, *ours, *other); !row.empty()) result.add(std::move(row));
      }
    }
  }
  return result;
}

std::vector<comparison> some_of(const std::vector<comparison>& all, bool (*which)(const comparison&)) {
  std::vector<comparison> some;
  std::copy_if(all.begin(), all.end(), std::back_inserter(some), which);
  return some;
}

/// What the work added to the resident set / what it had live at once, with the geometric means.
table asked(const std::vector<comparison>& all, const contestant_list& who) {
  table result = per_workload(all, who, asked_cell);
  for (const group& some : groups(all)) {
    if (some.members.size() < 2) continue;
    std::vector<std::string> row{some.name + ", mean"};
    for (const contestant* each : who) {
      std::vector<double> ratios;
      for (const comparison* one : some.members) {
        if (const auto* mine = find(*one, each->name)) ratios.push_back(growth_over_asked(*one, *mine));
      }
      row.push_back(ratios.empty() ? "-" : two_decimals(geometric_mean(ratios)));
    }
    result.add(std::move(row));
  }
  return result;
}

/// The tables about memory, each under its title.
std::vector<std::pair<std::string, table>> memory_tables(const std::vector<comparison>& all,
                                                         const contestant_list& who) {
  const std::string relative = " (/ " + reference_among(who) + "'s)";
  std::vector<std::pair<std::string, table>> tables;
  tables.emplace_back("Peak resident set of a process that does only this" + relative,
                      per_workload(all, who, peak_cell));
  tables.emplace_back("How much of that the work added" + relative, per_workload(all, who, growth_cell));
  const auto known = some_of(all, [](const comparison& one) { return one.asked_bytes != 0; });
  if (!known.empty()) {
    tables.emplace_back("How much the work added / the most it had asked for at once", asked(known, who));
  }
  const auto settled = some_of(all, [](const comparison& one) { return one.what->hold != nullptr; });
  if (!settled.empty()) {
    tables.emplace_back("Held when only what stays was live, and all had given back what they can" + relative,
                        per_workload(settled, who, held_cell));
  }
  return tables;
}

bool memory_measured(const std::vector<comparison>& all) {
  return !all.empty() && !all.front().results.empty() && all.front().results.front().peak_bytes != 0;
}

std::string cpu_name() {
  std::ifstream information("/proc/cpuinfo");
  for (std::string line; std::getline(information, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

}  // namespace

std::vector<std::string> environment() {
  utsname system{};
  ::uname(&system);
  const std::string release = system.release;  // what follows a dash names a distribution's build
  return {
    "machine: " + cpu_name() + ", " + std::to_string(std::thread::hardware_concurrency()) +
        " hardware threads, " + system.sysname + ' ' + release.substr(0, release.find('-')) + ' ' +
        system.machine,
        std::string("compiler: ") +
#if defined(__clang__)
            "clang " __clang_version__
#else
            "gcc " __VERSION__
#endif
            + ", flags " + CISTERN_PERF_BUILD,
        "mimalloc: " + mimalloc_version() +
            (mimalloc_named() ? ", mimalloc-found: " + mimalloc_found_version() : std::string()) +
            ", snmalloc: " + (snmalloc_named() ? snmalloc_file() : "none named")
  };
}

std::string build_warning() {
#if defined(CISTERN_CHECKED) && CISTERN_CHECKED
  return "this is a checked build: cistern's figures include the checks; use the release preset";
#elif !defined(__OPTIMIZE__)
  return "this build isn't optimised; use the release preset";
#else
  return {};
#endif
}

void print_header(std::ostream& out, const contestant_list& who) {
  out << std::left << std::setw(name_width) << ("ns (/ " + reference_among(who) + "'s)") << std::right;
  for (const contestant* each : who) out << std::setw(cell_width) << each->name;
  out << std::endl;
}

void print_row(std::ostream& out, const comparison& one, const contestant_list& who) {
  out << std::left << std::setw(name_width) << one.what->name << std::right;
  for (const contestant* each : who) out << std::setw(cell_width) << time_cell(one, *each);
  out << std::endl;
}

void print_summary(std::ostream& out, const std::vector<comparison>& all, const contestant_list& who) {
  out << "\nGeometric means\n\n";
  means(all, who).print(out);
  if (const table rows = gains(all, who); !rows.empty()) {
    out << '\n';
    rows.print(out);
  }
  if (!memory_measured(all)) return;
  for (const auto& [title, rows] : memory_tables(all, who)) {
    out << '\n' << title << "\n\n";
    rows.print(out);
  }
}

void write_markdown(std::ostream& out, const std::vector<comparison>& all, const contestant_list& who,
                    const std::string& command) {
  out << "Command: `" << command << "`  \n";
  for (const std::string& line : environment()) out << line << "  \n";
  out << "\nNanoseconds per operation; in brackets the time relative to " << reference_among(who)
      << "'s.\n\n";
  per_workload(all, who, time_cell).print_markdown(out);
  out << "\nGeometric means:\n\n";
  means(all, who).print_markdown(out);
  if (const table rows = gains(all, who); !rows.empty()) {
    out << '\n';
    rows.print_markdown(out);
  }
  if (!memory_measured(all)) return;
  for (const auto& [title, rows] : memory_tables(all, who)) {
    out << '\n' << title << ":\n\n";
    rows.print_markdown(out);
  }
}

void write_csv(std::ostream& out, const std::vector<comparison>& all) {
  out << "kind,workload,threads,contestant,round,operations,nanoseconds,peak_bytes,growth_bytes,held_bytes,"
         "asked_bytes\n";
  for (const comparison& one : all) {
    for (const result& each : one.results) {
      const std::string key =
          one.what->name + ',' + std::to_string(one.what->threads) + ',' + std::string(each.who->name);
      for (std::size_t round = 0; round < each.rounds.size(); ++round) {
        const measurement& run = each.rounds[round];
        out << "time," << key << ',' << round + 1 << ',' << run.operations << ',' << run.elapsed.count()
            << ",,,,\n";
      }
      if (each.peak_bytes != 0) {
        out << "memory," << key << ",,,," << each.peak_bytes << ',' << each.growth_bytes << ','
            << each.held_bytes << ',' << one.asked_bytes << '\n';
      }
    }
  }
}

}  // namespace perf
