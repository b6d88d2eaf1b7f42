// Text forms of allocation_statistics: a table for people, JSON for programs, OpenMetrics for monitoring.
#include <cistern/adaptor/statistics_adaptor.hpp>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "../base/statistics_text.hpp"

namespace cistern {
namespace {

using detail::in_binary_units;
using detail::text_table;
using detail::with_thousands;

[[nodiscard]] std::uint64_t magnitude(std::int64_t number) {
  return number < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(number)
                    : static_cast<std::uint64_t>(number);
}

[[nodiscard]] std::string signed_with_thousands(std::int64_t number) {
  return (number < 0 ? "-" : "") + with_thousands(magnitude(number));
}

[[nodiscard]] std::string unit_of(std::uint64_t bytes) {
  return bytes < 1024 ? "" : "(" + in_binary_units(bytes) + ")";
}

[[nodiscard]] std::string totals_table(const allocation_statistics& s) {
  text_table table(text_table::first_column::left);
  table.add_row({"", "blocks", "bytes"});
  const auto add = [&](const char* name, std::uint64_t blocks, std::uint64_t bytes) {
    table.add_row({name, with_thousands(blocks), with_thousands(bytes), unit_of(bytes)});
  };
  const auto add_signed = [&](const char* name, std::int64_t blocks, std::int64_t bytes) {
    const std::string unit = unit_of(magnitude(bytes));
    table.add_row({name, signed_with_thousands(blocks), signed_with_thousands(bytes), unit});
  };
  add("allocated", s.allocations, s.allocated_bytes);
  add("deallocated", s.deallocations, s.deallocated_bytes);
  add_signed("live", s.live_blocks, s.live_bytes);
  add_signed("peak", s.peak_blocks, s.peak_bytes);
  table.add_row({"failed", with_thousands(s.failures)});
  return table.text();
}

[[nodiscard]] std::string sizes_table(const allocation_statistics& s) {
  text_table table;
  table.add_row({"size up to", "allocations", "share"});
  table.add_rule();
  for (std::size_t i = 0; i < request_size_classes; ++i) {
    const std::uint64_t count = s.allocations_by_size[i];
    if (count == 0) continue;
    table.add_row({in_binary_units(request_size_class_limit_bytes(i)), with_thousands(count),
                   detail::percentage(count, s.allocations)});
  }
  return table.text();
}

[[nodiscard]] std::string sizes_json(const allocation_statistics& s) {
  std::vector<std::string> classes;
  for (std::size_t i = 0; i < request_size_classes; ++i) {
    if (s.allocations_by_size[i] == 0) continue;
    classes.push_back(detail::json_object()
                          .add("limit_bytes", request_size_class_limit_bytes(i))
                          .add("allocations", s.allocations_by_size[i])
                          .text());
  }
  return detail::json_array(classes);
}

// From the smallest class to the largest in use.
[[nodiscard]] std::vector<std::pair<std::uint64_t, std::uint64_t>> size_buckets(
    const allocation_statistics& s) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets;
  std::size_t used = 0;
  for (std::size_t i = 0; i < request_size_classes; ++i) {
    buckets.emplace_back(request_size_class_limit_bytes(i), s.allocations_by_size[i]);
    if (s.allocations_by_size[i] != 0) used = buckets.size();
  }
  buckets.resize(used);
  return buckets;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const allocation_statistics& s) {
  std::string text = totals_table(s);
  if (s.allocations != 0) text += "\n" + sizes_table(s);
  return out.write(text.data(), static_cast<std::streamsize>(text.size()));  // Past the width and fill of it.
}

std::string to_json(const allocation_statistics& s) {
  return detail::json_object()
      .add("allocations", s.allocations)
      .add("deallocations", s.deallocations)
      .add("failures", s.failures)
      .add("allocated_bytes", s.allocated_bytes)
      .add("deallocated_bytes", s.deallocated_bytes)
      .add_raw("live_blocks", std::to_string(s.live_blocks))
      .add_raw("live_bytes", std::to_string(s.live_bytes))
      .add_raw("peak_blocks", std::to_string(s.peak_blocks))
      .add_raw("peak_bytes", std::to_string(s.peak_bytes))
      .add_raw("allocations_by_size", sizes_json(s))
      .text();
}

void add_openmetrics(detail::openmetrics_text& text, const allocation_statistics& s, std::string_view name) {
  text.about("adaptor", "adaptor", name);
  const auto gauge = [&](const char* family, const char* unit, const char* help, std::int64_t value) {
    text.gauge(family, unit, help);
    text.sample_raw(std::to_string(value));
  };
  const auto counter = [&](const char* family, const char* help, std::uint64_t value, const char* unit = "") {
    text.counter(family, help, unit);
    text.sample(value);
  };
  gauge("cistern_adaptor_live_blocks", "blocks", "Blocks allocated and not yet freed.", s.live_blocks);
  gauge("cistern_adaptor_live_bytes", "bytes", "Bytes allocated and not yet freed.", s.live_bytes);
  gauge("cistern_adaptor_peak_blocks", "blocks", "The most blocks that ever lived.", s.peak_blocks);
  gauge("cistern_adaptor_peak_bytes", "bytes", "The most bytes that ever lived.", s.peak_bytes);
  counter("cistern_adaptor_allocations", "Requests that succeeded.", s.allocations);
  counter("cistern_adaptor_deallocations", "Blocks freed.", s.deallocations);
  counter("cistern_adaptor_failures", "Requests that ended in an exception.", s.failures);
  counter("cistern_adaptor_allocated_bytes", "Bytes of all allocations.", s.allocated_bytes, "bytes");
  counter("cistern_adaptor_deallocated_bytes", "Bytes of all deallocations.", s.deallocated_bytes, "bytes");
  if (s.allocations != 0) {
    text.histogram("cistern_adaptor_request_bytes", "bytes", "Successful requests by their size.",
                   size_buckets(s), s.allocations, s.allocated_bytes);
  }
}

std::string to_openmetrics(const allocation_statistics& s, std::string_view name) {
  detail::openmetrics_text text;
  add_openmetrics(text, s, name);
  return std::move(text).finish();
}

}  // namespace cistern
