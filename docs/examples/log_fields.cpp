// What a web server sent, by status, from its log. docs/measuring.md asks whether it wants a pool.
//
// log_fields [reserve] [LINES] makes up a log of so many lines, adds up, and prints the sums and the
// milliseconds of processor time that this took. With the word "reserve" a line's fields get their room at
// once. Ends with 0 if every line was counted.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t fields_of_a_line = 10;

std::string made_up_log(int lines) {
  constexpr std::array<std::string_view, 5> statuses = {"200", "200", "200", "304", "404"};
  std::mt19937 random(1);
  std::string log;
  for (int i = 0; i < lines; ++i) {
    log += "192.0.2." + std::to_string(random() % 256) + " - - [26/Nov/2026:21:00:00 +0000] \"GET /pages/" +
           std::to_string(random() % 1000) + " HTTP/1.1\" " + std::string(statuses[random() % 5]) + " " +
           std::to_string(random() % 100'000) + '\n';
  }
  return log;
}

using fields = std::vector<std::string_view>;

[[gnu::noinline]] fields split(std::string_view line, bool reserves) {
  fields all;
  if (reserves) all.reserve(fields_of_a_line);
  for (std::size_t begin = 0; begin < line.size();) {
    const std::size_t end = std::min(line.find(' ', begin), line.size());
    all.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  return all;
}

struct totals {
  int lines = 0;
  std::uint64_t bytes = 0;
};

std::map<std::string_view, totals> totals_by_status(std::string_view log, bool reserves) {
  std::map<std::string_view, totals> all;
  for (std::size_t begin = 0; begin < log.size();) {
    const std::size_t end = log.find('\n', begin);
    const fields found = split(log.substr(begin, end - begin), reserves);
    totals& of_status = all[found[8]];
    ++of_status.lines;
    of_status.bytes += std::strtoull(found[9].data(), nullptr, 10);
    begin = end + 1;
  }
  return all;
}

}  // namespace

int main(int count, char** arguments) {
  const bool reserves = count > 1 && arguments[1] == std::string("reserve");
  const int lines = count > 1 + reserves ? std::atoi(arguments[1 + reserves]) : 10'000;
  const std::string log = made_up_log(lines);
  const std::clock_t begun = std::clock();
  int counted = 0;
  for (const auto& [status, sums] : totals_by_status(log, reserves)) {
    std::cout << status << ": " << sums.lines << " lines, " << sums.bytes << " bytes\n";
    counted += sums.lines;
  }
  std::cerr << (std::clock() - begun) * 1000 / CLOCKS_PER_SEC << " ms\n";
  return counted == lines ? EXIT_SUCCESS : EXIT_FAILURE;
}
