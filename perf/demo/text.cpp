#include "demo/text.hpp"

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace demo {
namespace {

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

std::string grouped(std::uint64_t value) {
  std::string text = std::to_string(value);
  for (std::size_t place = text.size(); place > 3;) {
    place -= 3;
    text.insert(place, 1, ',');
  }
  return text;
}

std::string human_bytes(std::size_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= std::size_t{1} << 20) return formatted("%.1f MiB", value / (1 << 20));
  if (bytes >= std::size_t{1} << 10) return formatted("%.0f KiB", value / (1 << 10));
  return std::to_string(bytes) + " B";
}

std::string milliseconds(double seconds) {
  const double value = seconds * 1e3;
  if (value >= 99.95) return formatted("%.0f ms", value);
  if (value >= 9.995) return formatted("%.1f ms", value);
  return formatted(value >= 0.9995 ? "%.2f ms" : "%.3f ms", value);
}

std::string two_decimals(double value) {
  return formatted("%.2f", value);
}

void print_columns(std::ostream& out, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      out << (i > 0 ? "  " : "") << (i == 0 ? row[i] + padding : padding + row[i]);
    }
    out << '\n';
  }
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double median_ratio(const std::vector<double>& mine, const std::vector<double>& theirs) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < std::min(mine.size(), theirs.size()); ++round) {
    ratios.push_back(mine[round] / theirs[round]);
  }
  return median(std::move(ratios));
}

}  // namespace demo
