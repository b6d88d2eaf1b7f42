// statistics_adaptor: counts against a model, scopes in any order, and the three text forms.
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iomanip>
#include <memory>
#include <memory_resource>
#include <new>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#define BOOST_BIND_GLOBAL_PLACEHOLDERS  // Or the next header warns about itself.
#include <boost/property_tree/json_parser.hpp>
#include <boost/property_tree/ptree.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/conformance.hpp"
#include "../support/death.hpp"
#include "../support/threads.hpp"

using cistern::allocation_statistics;
using cistern::statistics_adaptor;
using cistern::statistics_scope;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;

namespace {

struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = true;
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<statistics_adaptor>(upstream);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(conforms) {
  cistern::test_support::require_conformance<subject>();
}

BOOST_AUTO_TEST_CASE(a_new_adaptor_has_counted_nothing) {
  statistics_adaptor counted;
  BOOST_TEST(counted.upstream_resource() == std::pmr::new_delete_resource());
  BOOST_TEST((counted.statistics() == allocation_statistics{}));
}

BOOST_AUTO_TEST_CASE(counts_calls_bytes_live_peak_and_failures) {
  failing_resource upstream;
  statistics_adaptor counted(&upstream);
  void* const a = counted.allocate(100);
  void* const b = counted.allocate(28, 64);
  counted.deallocate(a, 100);
  void* const c = counted.allocate(0);
  upstream.fail_nth(1);
  BOOST_CHECK_THROW((void)counted.allocate(500), std::bad_alloc);

  const allocation_statistics s = counted.statistics();
  BOOST_TEST(s.allocations == 3u);
  BOOST_TEST(s.deallocations == 1u);
  BOOST_TEST(s.failures == 1u);
  BOOST_TEST(s.allocated_bytes == 128u);
  BOOST_TEST(s.deallocated_bytes == 100u);
  BOOST_TEST(s.live_blocks == 2);
  BOOST_TEST(s.live_bytes == 28);
  BOOST_TEST(s.peak_blocks == 2);
  BOOST_TEST(s.peak_bytes == 128);
  BOOST_TEST(s.allocations_by_size[0] == 1u);
  BOOST_TEST(s.allocations_by_size[6] == 1u);  // Up to 32.
  BOOST_TEST(s.allocations_by_size[8] == 1u);  // Up to 128.
  counted.deallocate(b, 28, 64);
  counted.deallocate(c, 0);
}

BOOST_AUTO_TEST_CASE(reset_peak_starts_at_what_is_live) {
  statistics_adaptor counted;
  void* const a = counted.allocate(10);
  counted.deallocate(counted.allocate(90), 90);
  BOOST_TEST(counted.statistics().peak_bytes == 100);
  counted.reset_peak();
  BOOST_TEST(counted.statistics().peak_bytes == 10);
  BOOST_TEST(counted.statistics().peak_blocks == 1);
  counted.deallocate(a, 10);
}

BOOST_AUTO_TEST_CASE(every_size_is_in_the_first_class_that_holds_it) {
  using cistern::request_size_class;
  using cistern::request_size_class_limit_bytes;
  for (std::size_t i = 0; i + 1 < cistern::request_size_classes; ++i) {
    const std::size_t limit_bytes = request_size_class_limit_bytes(i);
    BOOST_TEST(request_size_class(limit_bytes) == i);
    BOOST_TEST(request_size_class(limit_bytes + 1) == i + 1);
  }
  BOOST_TEST(request_size_class(SIZE_MAX) == cistern::request_size_classes - 1);
  BOOST_TEST(request_size_class_limit_bytes(cistern::request_size_classes - 1) == SIZE_MAX);
}

// --- Scopes ---

BOOST_AUTO_TEST_CASE(a_scope_counts_from_its_beginning) {
  statistics_adaptor counted;
  void* const before = counted.allocate(1000);
  {
    const statistics_scope scope(counted);
    BOOST_TEST((scope.statistics() == allocation_statistics{}));
    void* const inside = counted.allocate(50);
    counted.deallocate(inside, 50);
    void* const stays = counted.allocate(20);
    const allocation_statistics s = scope.statistics();
    BOOST_TEST(s.allocations == 2u);
    BOOST_TEST(s.deallocations == 1u);
    BOOST_TEST(s.live_bytes == 20);
    BOOST_TEST(s.peak_bytes == 50);
    BOOST_TEST(s.peak_blocks == 1);
    BOOST_TEST(s.allocations_by_size[cistern::request_size_class(1000)] == 0u);
    counted.deallocate(stays, 20);
  }
  BOOST_TEST(counted.statistics().peak_bytes == 1050);
  counted.deallocate(before, 1000);
}

BOOST_AUTO_TEST_CASE(a_scope_that_frees_older_blocks_goes_below_nothing) {
  statistics_adaptor counted;
  void* const before = counted.allocate(100);
  const statistics_scope scope(counted);
  counted.deallocate(before, 100);
  counted.deallocate(counted.allocate(30), 30);
  const allocation_statistics s = scope.statistics();
  BOOST_TEST(s.live_blocks == -1);
  BOOST_TEST(s.live_bytes == -100);
  BOOST_TEST(s.peak_bytes == 0);  // It never held more than at its beginning.
  BOOST_TEST(s.peak_blocks == 0);
}

BOOST_AUTO_TEST_CASE(an_outer_scope_knows_the_peak_of_one_that_ended_inside) {
  statistics_adaptor counted;
  const statistics_scope outer(counted);
  void* const a = counted.allocate(10);
  {
    const statistics_scope inner(counted);
    counted.deallocate(counted.allocate(500), 500);
    BOOST_TEST(inner.statistics().peak_bytes == 500);
    BOOST_TEST(outer.statistics().peak_bytes == 510);
  }
  BOOST_TEST(outer.statistics().peak_bytes == 510);
  counted.deallocate(counted.allocate(20), 20);
  BOOST_TEST(outer.statistics().peak_bytes == 510);
  counted.deallocate(a, 10);
}

BOOST_AUTO_TEST_CASE(resetting_the_peak_leaves_scopes_theirs) {
  statistics_adaptor counted;
  const statistics_scope scope(counted);
  counted.deallocate(counted.allocate(100), 100);
  counted.reset_peak();
  BOOST_TEST(counted.statistics().peak_bytes == 0);
  BOOST_TEST(scope.statistics().peak_bytes == 100);
}

namespace {

// What a scope should say, kept the slow way.
struct model_scope {
  allocation_statistics seen;

  void allocate(std::size_t bytes) {
    ++seen.allocations;
    seen.allocated_bytes += bytes;
    ++seen.live_blocks;
    seen.live_bytes += static_cast<std::int64_t>(bytes);
    seen.peak_blocks = std::max(seen.peak_blocks, seen.live_blocks);
    seen.peak_bytes = std::max(seen.peak_bytes, seen.live_bytes);
    ++seen.allocations_by_size[cistern::request_size_class(bytes)];
  }
  void deallocate(std::size_t bytes) {
    ++seen.deallocations;
    seen.deallocated_bytes += bytes;
    --seen.live_blocks;
    seen.live_bytes -= static_cast<std::int64_t>(bytes);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(scopes_that_begin_and_end_in_any_order_agree_with_a_model) {
  checking_resource upstream;
  statistics_adaptor counted(&upstream);
  std::mt19937_64 random(3);
  std::vector<std::pair<std::unique_ptr<statistics_scope>, model_scope>> scopes;
  model_scope all;
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (int i = 0; i < 20'000; ++i) {
    const auto what = random() % 100;
    if (what < 2 && scopes.size() < 8) {
      scopes.emplace_back(std::make_unique<statistics_scope>(counted), model_scope{});
    } else if (what < 4 && !scopes.empty()) {
      scopes.erase(scopes.begin() + static_cast<std::ptrdiff_t>(random() % scopes.size()));
    } else if (what < 52 || blocks.empty()) {
      const std::size_t bytes = random() % 1000;
      blocks.emplace_back(counted.allocate(bytes), bytes);
      all.allocate(bytes);
      for (auto& scope : scopes) scope.second.allocate(bytes);
    } else {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      const auto [block, bytes] = blocks.back();
      blocks.pop_back();
      counted.deallocate(block, bytes);
      all.deallocate(bytes);
      for (auto& scope : scopes) scope.second.deallocate(bytes);
    }
    BOOST_REQUIRE((counted.statistics() == all.seen));
    for (const auto& [scope, model] : scopes) BOOST_REQUIRE((scope->statistics() == model.seen));
  }
  for (const auto& [block, bytes] : blocks) counted.deallocate(block, bytes);
}

BOOST_AUTO_TEST_CASE(threads_are_counted_to_the_last_call) {
  checking_resource upstream;
  statistics_adaptor counted(&upstream);
  constexpr std::size_t threads = 4;
  constexpr std::size_t rounds = 3'000;
  {
    const statistics_scope whole(counted);
    cistern::test_support::run_threads(threads, [&](std::size_t index) {
      for (std::size_t i = 0; i < rounds; ++i) {
        const statistics_scope scope(counted);
        void* const block = counted.allocate(index * 10 + 1);
        cistern::test_support::require(scope.statistics().allocations >= 1, "the scope missed a call");
        counted.deallocate(block, index * 10 + 1);
      }
    });
    const allocation_statistics s = counted.statistics();
    BOOST_TEST((whole.statistics() == s));
    BOOST_TEST(s.allocations == threads * rounds);
    BOOST_TEST(s.deallocations == threads * rounds);
    BOOST_TEST(s.allocated_bytes == rounds * (1 + 11 + 21 + 31));
    BOOST_TEST(s.live_bytes == 0);
    BOOST_TEST(s.peak_blocks >= 1);
    BOOST_TEST(s.peak_blocks <= 4);
    BOOST_TEST(s.peak_bytes <= 64);
  }
  BOOST_TEST(upstream.peak_bytes() >= static_cast<std::size_t>(counted.statistics().peak_bytes));
}

BOOST_AUTO_TEST_CASE(scopes_must_end_before_the_adaptor) {
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(cistern::test_support::dies_saying("destroyed before its scopes", [] {
      std::optional<statistics_adaptor> counted(std::in_place);
      const statistics_scope scope(*counted);
      counted.reset();
    }));
  }
}

// --- Text ---

namespace {

allocation_statistics some() {
  allocation_statistics s;
  s.allocations = 1'234'567;
  s.deallocations = 1'234'000;
  s.failures = 2;
  s.allocated_bytes = 123'456'789;
  s.deallocated_bytes = 123'456'000;
  s.live_blocks = 567;
  s.live_bytes = 789;
  s.peak_blocks = 600;
  s.peak_bytes = 4096;
  s.allocations_by_size[5] = 1'234'000;
  s.allocations_by_size[11] = 567;
  return s;
}

template <class T>
std::string printed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

}  // namespace

BOOST_AUTO_TEST_CASE(table) {
  BOOST_TEST(printed(some()) ==
             "                blocks        bytes\n"
             "allocated    1,234,567  123,456,789  (117.73 MiB)\n"
             "deallocated  1,234,000  123,456,000  (117.73 MiB)\n"
             "live               567          789\n"
             "peak               600        4,096       (4 KiB)\n"
             "failed               2\n"
             "\n"
             "size up to  allocations   share\n"
             "-------------------------------\n"
             "      16 B    1,234,000  99.9 %\n"
             "     1 KiB          567   0.0 %\n");
}

BOOST_AUTO_TEST_CASE(table_of_nothing_and_of_less_than_nothing) {
  BOOST_TEST(printed(allocation_statistics{}) ==
             "             blocks  bytes\n"
             "allocated         0      0\n"
             "deallocated       0      0\n"
             "live              0      0\n"
             "peak              0      0\n"
             "failed            0\n");
  allocation_statistics s;
  s.live_blocks = -1;
  s.live_bytes = INT64_MIN;
  BOOST_TEST(printed(s).find("-1  -9,223,372,036,854,775,808  (8 EiB)") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(table_is_the_same_whatever_the_stream_was_set_to) {
  std::ostringstream out;
  out << std::hex << std::setfill('*') << std::setw(2000) << some();
  BOOST_TEST(out.str() == printed(some()));
}

BOOST_AUTO_TEST_CASE(json) {
  BOOST_TEST(to_json(some()) ==
             R"({"allocations":1234567,"deallocations":1234000,"failures":2,"allocated_bytes":123456789,)"
             R"("deallocated_bytes":123456000,"live_blocks":567,"live_bytes":789,"peak_blocks":600,)"
             R"("peak_bytes":4096,"allocations_by_size":[{"limit_bytes":16,"allocations":1234000},)"
             R"({"limit_bytes":1024,"allocations":567}]})");
  allocation_statistics s = some();
  s.live_bytes = -5;
  std::istringstream in(to_json(s));
  boost::property_tree::ptree tree;
  boost::property_tree::read_json(in, tree);
  BOOST_TEST(tree.get<int>("live_bytes") == -5);
  BOOST_TEST(tree.get_child("allocations_by_size").size() == 2u);
}

BOOST_AUTO_TEST_CASE(openmetrics) {
  const std::string text = to_openmetrics(some(), "a \"b\"");
  const auto has = [&](const std::string& part) { return text.find(part) != std::string::npos; };
  BOOST_TEST(
      has("# TYPE cistern_adaptor_live_bytes gauge\n# UNIT cistern_adaptor_live_bytes bytes\n"
          "# HELP cistern_adaptor_live_bytes Bytes allocated and not yet freed.\n"
          "cistern_adaptor_live_bytes{adaptor=\"a \\\"b\\\"\"} 789\n"));
  BOOST_TEST(has("# TYPE cistern_adaptor_allocated_bytes counter\n"));
  BOOST_TEST(has("\ncistern_adaptor_allocated_bytes_total{adaptor=\"a \\\"b\\\"\"} 123456789\n"));
  BOOST_TEST(text.ends_with("\n# EOF\n"));
}

BOOST_AUTO_TEST_CASE(openmetrics_histogram_is_cumulative_and_ends_in_its_count_and_sum) {
  const std::string text = to_openmetrics(some(), "x");
  const std::string expected =
      "# TYPE cistern_adaptor_request_bytes histogram\n"
      "# UNIT cistern_adaptor_request_bytes bytes\n"
      "# HELP cistern_adaptor_request_bytes Successful requests by their size.\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"0.0\"} 0\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"1.0\"} 0\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"2.0\"} 0\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"4.0\"} 0\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"8.0\"} 0\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"16.0\"} 1234000\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"32.0\"} 1234000\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"64.0\"} 1234000\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"128.0\"} 1234000\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"256.0\"} 1234000\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"512.0\"} 1234000\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"1024.0\"} 1234567\n"
      "cistern_adaptor_request_bytes_bucket{adaptor=\"x\",le=\"+Inf\"} 1234567\n"
      "cistern_adaptor_request_bytes_count{adaptor=\"x\"} 1234567\n"
      "cistern_adaptor_request_bytes_sum{adaptor=\"x\"} 123456789\n"
      "# EOF\n";
  BOOST_TEST(text.substr(text.find("# TYPE cistern_adaptor_request_bytes")) == expected);
  BOOST_TEST(to_openmetrics(allocation_statistics{}, "x").find("histogram") == std::string::npos);
}
