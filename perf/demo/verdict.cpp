#include "demo/verdict.hpp"

#include <cmath>
#include <cstdio>
#include <ostream>

namespace demo {
namespace {

constexpr double noise = 0.03;

/// "26 % less than new/delete", "2.1 times that of mimalloc".
std::string compared(double mine, double theirs, const std::string& whose) {
  const double ratio = mine / theirs;
  char text[64];
  if (ratio < 1) {
    std::snprintf(text, sizeof text, "%.0f %% less than ", 100 * (1 - ratio));
  } else if (ratio < 2) {
    std::snprintf(text, sizeof text, "%.0f %% more than ", 100 * (ratio - 1));
  } else {
    std::snprintf(text, sizeof text, "%.1f times that of ", ratio);
  }
  return text + whose;
}

}  // namespace

void verdict::append(lines& to, const std::string& measure, const std::string& comparison) {
  for (line& each : to) {
    if (each.measure != measure) continue;
    each.comparisons += ", " + comparison;
    return;
  }
  to.push_back({measure, comparison});
}

void verdict::add(const std::string& measure, double mine, double theirs, const std::string& whose,
                  double too_little) {
  const double difference = std::abs(mine - theirs);
  if (difference <= too_little || difference <= noise * theirs) {
    append(alike_, measure, "as " + whose);
  } else {
    append(mine < theirs ? better_ : worse_, measure, compared(mine, theirs, whose));
  }
}

void verdict::print(std::ostream& out) const {
  const auto print_lines = [&out](const char* title, const lines& list) {
    for (const line& each : list)
      out << "  " << title << "  " << each.measure << ": " << each.comparisons << '\n';
  };
  out << name_ << " in words:\n";
  print_lines("better", better_);
  print_lines("alike ", alike_);
  print_lines("worse ", worse_);
  out << '\n';
}

}  // namespace demo
