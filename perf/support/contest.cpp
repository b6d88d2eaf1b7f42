#include "support/contest.hpp"

#include <algorithm>
#include <ostream>

#include "support/measure.hpp"

namespace perf {
namespace {

std::size_t calibrate(const runner& run, std::chrono::nanoseconds run_time) {
  for (std::size_t repetitions = 1;; repetitions *= 4) {
    const auto elapsed = std::max(run(repetitions), std::chrono::nanoseconds(1));
    if (elapsed * 8 >= run_time || repetitions > (std::size_t{1} << 40U)) {
      const double wanted = static_cast<double>(repetitions) * static_cast<double>(run_time.count()) /
                            static_cast<double>(elapsed.count());
      return std::max<std::size_t>(1, static_cast<std::size_t>(wanted));
    }
  }
}

}  // namespace

double contest_result::ratio(std::size_t numerator, std::size_t denominator) const {
  std::vector<double> ratios;
  for (std::size_t r = 0; r < rounds[numerator].size(); ++r) {
    ratios.push_back(rounds[numerator][r] / rounds[denominator][r]);
  }
  return median(ratios);
}

contest_result measure(const contest& what, const contest_plan& how) {
  contest_result result{what.name, what.operation, {}, {}};
  std::vector<std::size_t> repetitions;
  for (const contest_entry& each : what.entries) {
    result.names.push_back(each.name);
    repetitions.push_back(calibrate(each.run, how.run_time));
  }
  const std::size_t count = what.entries.size();
  result.rounds.resize(count);
  for (std::size_t round = 0; round < how.rounds; ++round) {
    for (std::size_t position = 0; position < count; ++position) {
      // Rotated each round, and backwards every other one: nobody always follows the same neighbour.
      const std::size_t turned = (position + round) % count;
      const std::size_t index = round % 2 == 0 ? turned : count - 1 - turned;
      const auto elapsed = what.entries[index].run(repetitions[index]);
      result.rounds[index].push_back(static_cast<double>(elapsed.count()) /
                                     static_cast<double>(repetitions[index] * what.operations));
    }
  }
  return result;
}

void write_csv(std::ostream& out, const std::vector<contest_result>& all) {
  out << "workload,operation,contestant,round,nanoseconds\n";
  for (const contest_result& one : all) {
    for (std::size_t i = 0; i < one.names.size(); ++i) {
      for (std::size_t round = 0; round < one.rounds[i].size(); ++round) {
        out << '"' << one.name << "\",\"" << one.operation << "\",\"" << one.names[i] << "\"," << round + 1
            << ',' << one.rounds[i][round] << '\n';
      }
    }
  }
}

}  // namespace perf
