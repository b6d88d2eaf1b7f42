#include "support/contest_program.hpp"

#include <chrono>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "support/command_line.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"

namespace perf {
namespace {

struct options {
  contest_plan how;
  std::string filter;
  std::string csv_file;
  std::string markdown_file;
  bool help = false;
};

options parse(arguments given, bool has_markdown) {
  options result;
  while (given.next()) {
    const std::string option = given.current();
    if (option == "--filter") {
      result.filter = given.value();
    } else if (option == "--rounds") {
      result.how.rounds = given.number(1000);
    } else if (option == "--quick") {
      result.how = {3, std::chrono::milliseconds(3)};
    } else if (option == "--csv") {
      result.csv_file = given.value();
    } else if (option == "--markdown" && has_markdown) {
      result.markdown_file = given.value();
    } else if (option == "--help" || option == "-h") {
      result.help = true;
    } else {
      given.refuse_unknown();
    }
  }
  return result;
}

/// A file that need not be asked for; opened before the work, so that a bad name is found out at once.
class output_file {
 public:
  explicit output_file(const std::string& name) : name_(name) {
    if (name_.empty()) return;
    stream_.open(name_);
    check();
  }
  template <class Write>
  void fill(Write write) {
    if (name_.empty()) return;
    write(stream_);
    stream_.flush();
    check();
  }

 private:
  void check() const {
    if (!stream_) throw std::runtime_error("cannot write " + name_);
  }
  std::string name_;
  std::ofstream stream_;
};

void run(const contest_program& program, const options& asked) {
  output_file csv(asked.csv_file);
  output_file markdown(asked.markdown_file);
  for (const std::string& line : environment()) std::cout << line << '\n';
  std::cout << build_warning() << '\n';
  std::vector<contest_result> all;
  progress shown;
  for (const contest& each : program.contests()) {
    if (each.name.find(asked.filter) == std::string::npos) continue;
    shown.stage(each.name);
    all.push_back(measure(each, asked.how));
    shown.clear();
    program.print(std::cout, all.back());
    std::cout.flush();
  }
  if (all.empty()) throw usage_error("no workload's name contains \"" + asked.filter + '"');
  csv.fill([&](std::ostream& out) { write_csv(out, all); });
  markdown.fill([&](std::ostream& out) { program.print_markdown(out, all); });
}

}  // namespace

int run_contests(const contest_program& program, int count, char** values) {
  const auto body = [&] {
    const options asked = parse(arguments(count, values), program.print_markdown != nullptr);
    if (asked.help) {
      std::cout << program.usage;
    } else {
      run(program, asked);
    }
    return 0;
  };
  return run_program(program.name, body, [&](std::ostream& out) { out << program.usage; });
}

}  // namespace perf
