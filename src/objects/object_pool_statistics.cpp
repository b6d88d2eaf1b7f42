// Text forms of object_pool_statistics: a table for people, JSON for programs, OpenMetrics for monitoring.
#include <cistern/object_pool_statistics.hpp>

#include <numeric>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "../base/statistics_text.hpp"

namespace cistern {

namespace {

constexpr std::string_view reason_names[destroy_reason_count] = {
    "closed",  "surplus",   "idle",    "expired",     "invalid",
    "unclean", "discarded", "evicted", "invalidated", "detached"};

using detail::figure;
using detail::in_seconds;

[[nodiscard]] std::vector<figure> gauges(const object_pool_statistics& s) {
  return {{"total", "total", "Objects that exist or are being created.", s.total},
          {"idle", "  idle", "Objects ready to be given out.", s.idle},
          {"in_use", "  in use", "Objects out on loan.", s.in_use},
          {"creating", "  being created", "Objects being made by the factory.", s.creating},
          {"waiting", "waiting", "Threads and coroutines in the queue.", s.waiting}};
}

[[nodiscard]] std::vector<figure> counters(const object_pool_statistics& s) {
  return {{"acquired", "acquired", "Leases given out.", s.acquired},
          {"returned", "  returned", "Leases given back.", s.returned},
          {"waited", "  after waiting", "Calls that had to queue.", s.waited},
          {"timed_out", "timed out", "Calls that ended by their deadline.", s.timed_out},
          {"cancelled", "cancelled", "Calls that ended by their stop token.", s.cancelled},
          {"created", "created", "Objects made by the factory.", s.created},
          {"adopted", "adopted", "Objects taken in from outside.", s.adopted},
          {"factory_failures", "factory failures", "Calls of the factory that threw.", s.factory_failures}};
}

}  // namespace

std::string_view to_string(destroy_reason reason) noexcept {
  return reason_names[static_cast<std::size_t>(reason)];
}

std::uint64_t object_pool_statistics::destroyed_total() const noexcept {
  return std::accumulate(destroyed.begin(), destroyed.end(), std::uint64_t{0});
}

std::ostream& operator<<(std::ostream& out, const object_pool_statistics& s) {
  detail::text_table table(detail::text_table::first_column::left);
  const auto add = [&](const std::string& name, std::uint64_t value) {
    table.add_row({name, detail::with_thousands(value)});
  };
  for (const figure& one : gauges(s)) {
    add(one.name, one.value);
  }
  table.add_row({"max", s.max == no_limit ? "-" : detail::with_thousands(s.max)});
  if (s.retained_bytes != 0) {
    table.add_row({"retained by idle ones", detail::in_binary_units(s.retained_bytes)});
  }
  for (const figure& one : counters(s)) {
    add(one.name, one.value);
  }
  table.add_row({"waited in all", in_seconds(s.wait_time) + " s"});
  add("destroyed", s.destroyed_total());
  for (std::size_t i = 0; i < destroy_reason_count; ++i) {
    if (s.destroyed[i] != 0) {
      add("  " + std::string(reason_names[i]), s.destroyed[i]);
    }
  }
  const std::string text = table.text();  // written past the stream's width and fill
  return out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

std::string to_json(const object_pool_statistics& s) {
  detail::json_object json;
  json.add(gauges(s));
  json.add_raw("max", s.max == no_limit ? "null" : std::to_string(s.max));
  json.add("retained_bytes", s.retained_bytes);
  json.add(counters(s));
  json.add_raw("wait_time_seconds", in_seconds(s.wait_time));
  detail::json_object destroyed;
  for (std::size_t i = 0; i < destroy_reason_count; ++i) {
    destroyed.add(reason_names[i], s.destroyed[i]);
  }
  return json.add_raw("destroyed", destroyed.text()).text();
}

void add_openmetrics(detail::openmetrics_text& text, const object_pool_statistics& s,
                     std::string_view pool_name) {
  text.about("object pool", "pool", pool_name);
  const std::string prefix = "cistern_object_pool_";
  text.gauges(prefix, "objects", gauges(s));
  if (s.max != no_limit) {
    text.gauge(prefix + "max_objects", "objects", "Objects that may exist at once.");
    text.sample(s.max);
  }
  text.gauge(prefix + "retained_bytes", "bytes", "What the idle objects hold.");
  text.sample(s.retained_bytes);
  text.counters(prefix, counters(s));
  text.counter(prefix + "wait_time_seconds", "Time spent in the queue, by all callers together.", "seconds");
  text.sample_raw(in_seconds(s.wait_time));
  text.counter(prefix + "destroyed", "Objects that left the pool, by reason.");
  for (std::size_t i = 0; i < destroy_reason_count; ++i) {
    text.sample(s.destroyed[i], "reason=\"" + std::string(reason_names[i]) + "\"");
  }
}

std::string to_openmetrics(const object_pool_statistics& s, std::string_view pool_name) {
  detail::openmetrics_text text;
  add_openmetrics(text, s, pool_name);
  return std::move(text).finish();
}

}  // namespace cistern
