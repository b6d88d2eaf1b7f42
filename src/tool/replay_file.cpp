#include "replay_file.hpp"

#include <stdexcept>

#if CISTERN_HAS_JSON
#include <algorithm>

#include "printable_text.hpp"
#include <nlohmann/json.hpp>
#endif

namespace cistern::tool {

#if CISTERN_HAS_JSON

namespace {

using json_value = nlohmann::json;

/// More than any figure is, and few enough to count with.
constexpr double largest_figure = 0x1p63;

[[nodiscard]] double number_in(const json_value& object, const char* key) {
  const json_value& value = object.at(key);
  const double number = value.is_number() ? value.get<double>() : -1;
  if (number >= 0 && number < largest_figure) return number;
  throw std::runtime_error(std::string(key) + " is no such number");
}

[[nodiscard]] std::uint64_t count_in(const json_value& object, const char* key) {
  return static_cast<std::uint64_t>(number_in(object, key));
}

[[nodiscard]] std::optional<double> figure_in(const json_value& object, const char* key) {
  if (object.at(key).is_null()) return std::nullopt;
  return number_in(object, key);
}

[[nodiscard]] std::string name_in(const json_value& object, const char* key) {
  return printable(object.at(key).get<std::string>());
}

[[nodiscard]] std::optional<double> most_held(const json_value& memory) {
  std::optional<double> most;
  for (const json_value& point : memory.at("over_time")) {
    const std::optional<double> held = figure_in(point, "upstream_bytes");
    if (held) most = std::max(most.value_or(0), *held);
  }
  return most;
}

[[nodiscard]] reported_resource resource_from(const json_value& object, std::uint64_t calls) {
  const json_value& times = object.at("nanoseconds_per_call");
  reported_resource resource{.name = name_in(object, "name"),
                             .nanoseconds_per_call = number_in(times, "median"),
                             .lower_quartile = number_in(times, "lower_quartile"),
                             .upper_quartile = number_in(times, "upper_quartile"),
                             .all_calls_nanoseconds = number_in(times, "median") * static_cast<double>(calls),
                             .ratio = number_in(object, "ratio"),
                             .longest_call_nanoseconds = number_in(object, "longest_call_nanoseconds"),
                             .refused = number_in(object, "refused")};
  const json_value& memory = object.at("memory");
  if (memory.is_null()) return resource;
  resource.peak_resident_bytes = number_in(memory, "peak_resident_bytes");
  resource.fragmentation = figure_in(memory, "fragmentation");
  resource.peak_held_bytes = most_held(memory);
  resource.held_after_trim_bytes = number_in(memory, "held_after_trim_bytes");
  resource.upstream_allocations = figure_in(memory, "upstream_allocations");
  return resource;
}

[[nodiscard]] replay_file file_from(const json_value& report) {
  const json_value& trace = report.at("trace");
  replay_file file{.trace = name_in(trace, "file"),
                   .calls = count_in(trace, "calls"),
                   .recorded_threads = count_in(trace, "recorded_threads"),
                   .peak_asked_bytes = count_in(trace, "peak_asked_bytes"),
                   .rounds = count_in(report, "rounds"),
                   .resources = {}};
  for (const json_value& each : report.at("resources"))
    file.resources.push_back(resource_from(each, file.calls));
  if (file.resources.empty()) throw std::runtime_error("it has no resource");
  return file;
}

}  // namespace

replay_file replay_file_from(const std::string& text, const std::string& path) {
  try {
    return file_from(json_value::parse(text));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {  // The parser's own say where.
    throw std::runtime_error(path + " isn't what replay --json writes: " + error.what());
  }
}

#else

replay_file replay_file_from(const std::string&, const std::string& path) {
  throw std::runtime_error(path +
                           " is a report, and this program was built without nlohmann-json, which reads it "
                           "(Debian: nlohmann-json3-dev)");
}

#endif

}  // namespace cistern::tool
