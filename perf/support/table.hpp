// table: rows of text as aligned columns for a terminal, or as Markdown.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>
#include <vector>

namespace perf {

/// The first column is aligned left, all others right.
class table {
 public:
  explicit table(std::vector<std::string> header) : rows_{std::move(header)} {}

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] bool empty() const noexcept { return rows_.size() == 1; }

  void print(std::ostream& out) const;
  void print_markdown(std::ostream& out) const;

 private:
  [[nodiscard]] std::vector<std::size_t> widths() const;

  std::vector<std::vector<std::string>> rows_;
};

/// `value` with three significant digits or more: "0.456", "4.56", "45.6", "456", "4560".
[[nodiscard]] std::string significant(double value);
/// With two decimals.
[[nodiscard]] std::string two_decimals(double value);
/// "3.4 MiB", "612 KiB", "64 B".
[[nodiscard]] std::string human_bytes(std::size_t bytes);

}  // namespace perf
