// Formatting shared by every statistics type: numbers, aligned tables, JSON objects and OpenMetrics text.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cistern::detail {

/// 1234567 as "1,234,567".
[[nodiscard]] std::string with_thousands(std::uint64_t number);

/// Bytes in the largest binary unit that leaves at least 1, with at most two decimals: "16 B", "1.25 KiB",
/// "64 MiB".
[[nodiscard]] std::string in_binary_units(std::uint64_t bytes);

/// `part` of `whole` in percent with one decimal, "99.9 %", rounded down so that "100.0 %" means all; "-"
/// when `whole` is 0.
[[nodiscard]] std::string percentage(std::uint64_t part, std::uint64_t whole);

/// A time as a plain number, the same in every locale: with as many decimals as it has, or with so many.
[[nodiscard]] std::string in_seconds(std::chrono::duration<double> time);
[[nodiscard]] std::string in_seconds(std::chrono::duration<double> time, int decimals);

/// One number of a report, as each of the three texts calls it.
struct figure {
  const char* key;   ///< In JSON, and behind a prefix in OpenMetrics.
  const char* name;  ///< In the table.
  const char* help;  ///< In OpenMetrics.
  std::uint64_t value;
};

/// Right-aligned columns as wide as their widest cell, two spaces apart; the first column is left-aligned
/// when asked.
class text_table {
 public:
  enum class first_column { left, right };

  explicit text_table(first_column alignment = first_column::right) : alignment_(alignment) {}

  /// Adds a row; rows may have different numbers of cells.
  void add_row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// Adds a line as wide as the table.
  void add_rule() { rows_.emplace_back(); }

  /// The rows, each ended by a newline, with no spaces at the end of a line.
  [[nodiscard]] std::string text() const;

 private:
  [[nodiscard]] std::vector<std::size_t> column_widths() const;

  first_column alignment_;
  std::vector<std::vector<std::string>> rows_;  // An empty row stands for a rule.
};

/// Text in double quotes, with what JSON wants escaped, and valid UTF-8. What is none becomes U+FFFD, byte by
/// byte.
[[nodiscard]] std::string json_quoted(std::string_view text);

/// Builds one JSON object, member by member, in order.
class json_object {
 public:
  json_object& add(std::string_view key, std::uint64_t number) {
    return add_raw(key, std::to_string(number));
  }
  json_object& add(const std::vector<figure>& figures);
  /// `json` is a JSON value already.
  json_object& add_raw(std::string_view key, std::string_view json);

  [[nodiscard]] std::string text() const { return "{" + members_ + "}"; }

 private:
  std::string members_;
};

/// Values separated by commas, in brackets.
[[nodiscard]] std::string json_array(const std::vector<std::string>& values);

/// Label text as OpenMetrics wants it: backslash, double quote and newline escaped, and valid UTF-8. What is
/// none becomes U+FFFD, byte by byte.
[[nodiscard]] std::string openmetrics_escaped(std::string_view text);

/// Builds an OpenMetrics exposition about one subject or several: each family once, with its metadata and the
/// samples of all subjects.
class openmetrics_text {
 public:
  /// What follows is about the `kind` called `name`: every sample gets the label `<label>="<name>"`. Throws
  /// `std::invalid_argument` if the text has one of that kind and name already.
  void about(std::string_view kind, std::string_view label, std::string_view name);

  /// Starts a family of gauges, or goes on with it; `unit`, when there is one, is also the end of `name`, as
  /// the format asks.
  void gauge(std::string_view name, std::string_view unit, std::string_view help);
  /// The same of counters; `name` without "_total", which only the samples carry; `unit` as for
  /// gauges.
  void counter(std::string_view name, std::string_view help, std::string_view unit = {});

  /// The same of histograms, and adds one: `buckets` are upper bounds, in order, each with the number
  /// of observations up to it (not above the bound before); all observations, and the sum of their values.
  void histogram(std::string_view name, std::string_view unit, std::string_view help,
                 const std::vector<std::pair<std::uint64_t, std::uint64_t>>& buckets, std::uint64_t count,
                 std::uint64_t sum);
  /// A family with one sample for each figure, named by `prefix`, its key, and the unit if the key doesn't
  /// say it.
  void gauges(std::string_view prefix, std::string_view unit, const std::vector<figure>& figures);
  /// The same as counters; a `unit` is the end of each key.
  void counters(std::string_view prefix, const std::vector<figure>& figures, std::string_view unit = {});

  /// Adds a sample to the family started last; `more_labels` as written, for example `block_bytes="64"`.
  void sample(std::uint64_t value, std::string_view more_labels = {});
  /// The same with a number that isn't whole, as written.
  void sample_raw(std::string_view value, std::string_view more_labels = {});

  /// All of it, ending in the line "# EOF".
  [[nodiscard]] std::string finish() &&;

 private:
  struct family {
    std::string name;
    std::string text;  // metadata, then samples
  };

  void start_family(std::string_view name, std::string_view type, std::string_view unit,
                    std::string_view help);

  std::set<std::string> subjects_;
  std::string label_;  // of the subject that it is about now
  std::vector<family> families_;
  std::size_t current_ = 0;  // the family that samples go to
  std::string sample_name_;
};

}  // namespace cistern::detail
