// Formatting shared by every statistics type.
#include "statistics_text.hpp"

#include <cistern/detail/base/utf8.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <stdexcept>

namespace cistern::detail {
namespace {

/// Calls `see(form)` with the UTF-8 form of each character. What is none becomes U+FFFD, byte by byte.
template <class See>
void for_each_character(std::string_view text, See see) {
  while (!text.empty()) {
    const decoded_utf8 decoded = decode_utf8(text);
    std::array<char, 4> form{};
    see(std::string_view(form.data(), encode_utf8(decoded.character, form.data())));
    text.remove_prefix(decoded.bytes);
  }
}

}  // namespace

std::string with_thousands(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string in_binary_units(std::uint64_t bytes) {
  constexpr std::array<const char*, 7> units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  for (std::uint64_t left = bytes; left >= 1024; left /= 1024) ++unit;
  const std::uint64_t one = std::uint64_t{1} << (10 * unit);
  // Rounded down: 1023.999 KiB is not yet 1024 KiB.
  const std::uint64_t hundredths = unit == 0 ? 0 : (bytes % one) / (one / 1024) * 100 / 1024;
  std::string text = std::to_string(bytes / one);
  if (hundredths != 0) {
    text += "." + std::to_string(hundredths / 10);
    if (hundredths % 10 != 0) text += std::to_string(hundredths % 10);
  }
  return text + " " + units[unit];
}

std::string in_seconds(std::chrono::duration<double> time) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), time.count()).ptr};
}

std::string in_seconds(std::chrono::duration<double> time, int decimals) {
  std::array<char, 32> text{};  // a clock counts nanoseconds in 64 bits: ten digits before the point
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), time.count(),
                                     std::chars_format::fixed, decimals)
                           .ptr};
}

std::string percentage(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return "-";
  const auto tenths =
      static_cast<std::uint64_t>(static_cast<double>(part) * 1000.0 / static_cast<double>(whole));
  const std::uint64_t shown = part < whole ? std::min<std::uint64_t>(tenths, 999) : tenths;
  return std::to_string(shown / 10) + "." + std::to_string(shown % 10) + " %";
}

std::vector<std::size_t> text_table::column_widths() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  return widths;
}

std::string text_table::text() const {
  constexpr std::string_view gap = "  ";
  const std::vector<std::size_t> widths = column_widths();
  std::size_t table_width = widths.empty() ? 0 : gap.size() * (widths.size() - 1);
  for (const std::size_t width : widths) table_width += width;

  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += gap;
      const std::string padding(widths[i] - row[i].size(), ' ');
      const bool left = i == 0 && alignment_ == first_column::left;
      line += left ? row[i] + padding : padding + row[i];
    }
    if (row.empty()) line.assign(table_width, '-');
    line.resize(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string json_quoted(std::string_view text) {
  std::string quoted = "\"";
  for_each_character(text, [&quoted](std::string_view form) {
    const char first = form.front();
    if (first == '"' || first == '\\') quoted += '\\';
    if (static_cast<unsigned char>(first) < 0x20) {
      std::array<char, 8> code{};
      std::snprintf(code.data(), code.size(), "\\u%04x", static_cast<unsigned>(first));
      quoted += code.data();
    } else {
      quoted += form;
    }
  });
  return quoted + '"';
}

json_object& json_object::add_raw(std::string_view key, std::string_view json) {
  if (!members_.empty()) members_ += ',';
  members_ += json_quoted(key);
  members_ += ':';
  members_ += json;
  return *this;
}

json_object& json_object::add(const std::vector<figure>& figures) {
  for (const figure& one : figures) add(one.key, one.value);
  return *this;
}

std::string json_array(const std::vector<std::string>& values) {
  std::string text = "[";
  for (const std::string& value : values) {
    if (text.size() > 1) text += ',';
    text += value;
  }
  return text + "]";
}

std::string openmetrics_escaped(std::string_view text) {
  std::string escaped;
  for_each_character(text, [&escaped](std::string_view form) {
    const char first = form.front();
    if (first == '\\' || first == '"') escaped += '\\';
    if (first == '\n') {
      escaped += "\\n";
    } else {
      escaped += form;
    }
  });
  return escaped;
}

void openmetrics_text::about(std::string_view kind, std::string_view label, std::string_view name) {
  const std::string escaped = openmetrics_escaped(name);
  if (!subjects_.insert(std::string(kind) + " " + escaped).second) {
    throw std::invalid_argument("cistern: more than one " + std::string(kind) + " is called \"" + escaped +
                                "\" in an OpenMetrics text");
  }
  label_ = std::string(label) + "=\"" + escaped + "\"";
}

void openmetrics_text::start_family(std::string_view name, std::string_view type, std::string_view unit,
                                    std::string_view help) {
  sample_name_ = name;
  const auto found =
      std::find_if(families_.begin(), families_.end(), [&](const family& each) { return each.name == name; });
  current_ = static_cast<std::size_t>(found - families_.begin());
  if (found != families_.end()) return;
  std::string text = "# TYPE " + sample_name_ + " " + std::string(type) + "\n";
  if (!unit.empty()) text += "# UNIT " + sample_name_ + " " + std::string(unit) + "\n";
  text += "# HELP " + sample_name_ + " " + openmetrics_escaped(help) + "\n";
  families_.push_back({sample_name_, std::move(text)});
}

void openmetrics_text::gauge(std::string_view name, std::string_view unit, std::string_view help) {
  start_family(name, "gauge", unit, help);
}

void openmetrics_text::counter(std::string_view name, std::string_view help, std::string_view unit) {
  start_family(name, "counter", unit, help);
  sample_name_ += "_total";
}

void openmetrics_text::histogram(std::string_view name, std::string_view unit, std::string_view help,
                                 const std::vector<std::pair<std::uint64_t, std::uint64_t>>& buckets,
                                 std::uint64_t count, std::uint64_t sum) {
  start_family(name, "histogram", unit, help);
  sample_name_ = std::string(name) + "_bucket";
  std::uint64_t up_to_here = 0;  // The format counts from the start: each bucket holds those before it.
  for (const auto& [bound, observations] : buckets) {
    up_to_here += observations;
    sample(up_to_here, "le=\"" + std::to_string(bound) + ".0\"");
  }
  sample(count, "le=\"+Inf\"");
  sample_name_ = std::string(name) + "_count";
  sample(count);
  sample_name_ = std::string(name) + "_sum";
  sample(sum);
}

void openmetrics_text::gauges(std::string_view prefix, std::string_view unit,
                              const std::vector<figure>& figures) {
  for (const figure& one : figures) {
    const std::string name = std::string(prefix) + one.key;
    gauge(name.ends_with(unit) ? name : name + "_" + std::string(unit), unit, one.help);
    sample(one.value);
  }
}

void openmetrics_text::counters(std::string_view prefix, const std::vector<figure>& figures,
                                std::string_view unit) {
  for (const figure& one : figures) {
    counter(std::string(prefix) + one.key, one.help, unit);
    sample(one.value);
  }
}

void openmetrics_text::sample(std::uint64_t value, std::string_view more_labels) {
  sample_raw(std::to_string(value), more_labels);
}

void openmetrics_text::sample_raw(std::string_view value, std::string_view more_labels) {
  std::string& text = families_[current_].text;
  text += sample_name_ + "{" + label_;
  if (!more_labels.empty()) text += "," + std::string(more_labels);
  text += "} " + std::string(value) + "\n";
}

std::string openmetrics_text::finish() && {
  std::string all;
  for (const family& one : families_) all += one.text;
  return all + "# EOF\n";
}

}  // namespace cistern::detail
