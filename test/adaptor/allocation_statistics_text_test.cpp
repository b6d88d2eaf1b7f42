// The three text forms of allocation_statistics, each against its exact text.
#include <cistern/adaptor/statistics_adaptor.hpp>

#include <cstdint>
#include <iomanip>
#include <sstream>
#include <string>

#define BOOST_BIND_GLOBAL_PLACEHOLDERS  // Or the next header warns about itself.
#include <boost/property_tree/json_parser.hpp>
#include <boost/property_tree/ptree.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/texts.hpp"

using cistern::allocation_statistics;
using cistern::test_support::printed;

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
