// text: figures in words, and rows of text as aligned columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace demo {

/// "1,234,567".
[[nodiscard]] std::string grouped(std::uint64_t value);
/// "3.4 MiB", "612 KiB", "64 B".
[[nodiscard]] std::string human_bytes(std::size_t bytes);
/// Three significant digits, or more in front of the point: "0.456 ms", "4.56 ms", "456 ms".
[[nodiscard]] std::string milliseconds(double seconds);
[[nodiscard]] std::string two_decimals(double value);

/// Prints rows with the first column aligned left and all others right, two blanks between them.
void print_columns(std::ostream& out, const std::vector<std::vector<std::string>>& rows);

[[nodiscard]] double median(std::vector<double> values);
/// The median of `mine` over `theirs` in the same round.
[[nodiscard]] double median_ratio(const std::vector<double>& mine, const std::vector<double>& theirs);

}  // namespace demo
