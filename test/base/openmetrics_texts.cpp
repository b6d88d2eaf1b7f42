// Prints an OpenMetrics text of the library's own statistics, for openmetrics_test.py: openmetrics_texts TEXT
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/named_statistics.hpp>
#include <cistern/object_pool_statistics.hpp>
#include <cistern/pool_statistics.hpp>

#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>

namespace {

// What the names are read as stands in openmetrics_test.py.
constexpr const char* odd_name = "a \"quoted\" \\ name,\n{in} two lines";
constexpr const char* broken_name = "caf\xe9 \xe2\x82\xac";

// Each figure has a value of its own, so that none stands for another; every family is there.
cistern::pool_statistics pool(std::size_t first) {
  cistern::pool_statistics s;
  for (std::size_t* figure : {&s.in_use_bytes, &s.idle_bytes, &s.idle_in_lists_bytes, &s.idle_in_caches_bytes,
                              &s.idle_in_spans_bytes, &s.idle_in_pages_bytes, &s.idle_in_regions_bytes,
                              &s.idle_untouched_bytes, &s.overhead_bytes, &s.upstream_bytes,
                              &s.peak_upstream_bytes, &s.oversize.live_blocks, &s.oversize.live_bytes}) {
    *figure = first++;
  }
  for (std::uint64_t* figure : {&s.upstream_allocations, &s.upstream_deallocations, &s.given_back_idle_bytes,
                                &s.given_back_trim_bytes, &s.given_back_need_bytes, &s.discarded_bytes,
                                &s.oversize.allocations, &s.oversize.deallocations}) {
    *figure = first++;
  }
  s.buckets = {{16, first, 1, 2, 3, 4, 5}, {48, first + 1, 6, 7, 8, 9, 10}};
  return s;
}

cistern::object_pool_statistics object_pool(std::size_t first, std::size_t max) {
  cistern::object_pool_statistics s;
  for (std::size_t* figure : {&s.total, &s.idle, &s.in_use, &s.creating, &s.waiting, &s.retained_bytes}) {
    *figure = first++;
  }
  for (std::uint64_t* figure : {&s.acquired, &s.created, &s.adopted, &s.waited, &s.timed_out, &s.cancelled,
                                &s.returned, &s.factory_failures}) {
    *figure = first++;
  }
  for (std::uint64_t& figure : s.destroyed) figure = first++;
  s.max = max;
  s.wait_time = std::chrono::milliseconds{1500};
  return s;
}

cistern::allocation_statistics adaptor(std::uint64_t small, std::uint64_t largest) {
  cistern::allocation_statistics s;
  s.allocations = small + largest;
  s.allocations_by_size[4] = small;
  s.allocations_by_size[cistern::request_size_classes - 1] = largest;
  s.allocated_bytes = s.allocations * 8;
  s.deallocated_bytes = 1'000'000;
  s.live_bytes = static_cast<std::int64_t>(s.allocated_bytes) - 1'000'000;  // of a scope: below zero
  s.live_blocks = -3;
  s.peak_blocks = 2;
  s.peak_bytes = 16;
  s.failures = 1;
  return s;
}

std::string text_of(std::string_view which) {
  if (which == "none") return cistern::to_openmetrics({});
  if (which == "pool") return to_openmetrics(pool(100), odd_name);
  if (which == "object_pool") return to_openmetrics(object_pool(100, 7), broken_name);
  if (which == "adaptor") return to_openmetrics(adaptor(5, 1), odd_name);
  return cistern::to_openmetrics({{"new", cistern::pool_statistics{}},
                                  {"calm", cistern::object_pool_statistics{.max = cistern::no_limit}},
                                  {"unused", cistern::allocation_statistics{}},
                                  {odd_name, pool(1000)},
                                  {"parser", adaptor(5, 0)},
                                  {broken_name, object_pool(2000, 50)},
                                  {"calm", pool(3000)},
                                  {odd_name, object_pool(4000, 60)},
                                  {broken_name, adaptor(8, 2)}});
}

}  // namespace

int main(int argc, char** argv) {
  std::cout << text_of(argc > 1 ? argv[1] : "mixed");
  return std::cout.flush() ? 0 : 1;
}
