#include "support/table.hpp"

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace perf {
namespace {

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

void print_padded(std::ostream& out, const std::string& text, std::size_t width, bool left) {
  const std::string padding(width > text.size() ? width - text.size() : 0, ' ');
  left ? out << text << padding : out << padding << text;
}

}  // namespace

std::vector<std::size_t> table::widths() const {
  std::vector<std::size_t> result;
  for (const auto& row : rows_) {
    result.resize(std::max(result.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) result[i] = std::max(result[i], row[i].size());
  }
  return result;
}

void table::print(std::ostream& out) const {
  const auto columns = widths();
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) out << "  ";
      const bool last_left = i == 0 && row.size() == 1;
      print_padded(out, row[i], last_left ? 0 : columns[i], i == 0);
    }
    out << '\n';
  }
}

void table::print_markdown(std::ostream& out) const {
  for (std::size_t line = 0; line < rows_.size(); ++line) {
    out << '|';
    for (const auto& cell : rows_[line]) out << ' ' << cell << " |";
    out << '\n';
    if (line > 0) continue;
    out << "| --- |";
    for (std::size_t i = 1; i < rows_[0].size(); ++i) out << " ---: |";
    out << '\n';
  }
}

std::string significant(double value) {
  if (value >= 99.95) return formatted("%.0f", value);
  if (value >= 9.995) return formatted("%.1f", value);
  return formatted(value >= 0.9995 ? "%.2f" : "%.3f", value);
}

std::string two_decimals(double value) {
  return formatted("%.2f", value);
}

std::string human_bytes(std::size_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= std::size_t{1} << 20) return formatted("%.1f MiB", value / (1 << 20));
  if (bytes >= std::size_t{1} << 10) return formatted("%.0f KiB", value / (1 << 10));
  return std::to_string(bytes) + " B";
}

}  // namespace perf
