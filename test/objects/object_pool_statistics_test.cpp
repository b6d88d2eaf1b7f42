// The text forms of object_pool_statistics, each against its exact text.
#include <cistern/object_pool_statistics.hpp>

#include <iomanip>
#include <set>
#include <sstream>
#include <string>

#include <boost/property_tree/json_parser.hpp>
#include <boost/property_tree/ptree.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/texts.hpp"

using namespace cistern;
using cistern::test_support::printed;

namespace {

object_pool_statistics busy() {
  object_pool_statistics s;
  s.total = 10;
  s.idle = 3;
  s.in_use = 6;
  s.creating = 1;
  s.waiting = 4;
  s.max = 10;
  s.retained_bytes = 2048;
  s.acquired = 1'234'567;
  s.created = 25;
  s.adopted = 1;
  s.waited = 900;
  s.timed_out = 12;
  s.cancelled = 2;
  s.returned = 1'234'550;
  s.factory_failures = 5;
  s.destroyed[static_cast<std::size_t>(destroy_reason::expired)] = 9;
  s.destroyed[static_cast<std::size_t>(destroy_reason::discarded)] = 8;
  s.wait_time = std::chrono::milliseconds{1500};
  return s;
}

}  // namespace

BOOST_AUTO_TEST_CASE(table_of_a_busy_pool) {
  BOOST_TEST(printed(busy()) ==
             "total                         10\n"
             "  idle                         3\n"
             "  in use                       6\n"
             "  being created                1\n"
             "waiting                        4\n"
             "max                           10\n"
             "retained by idle ones      2 KiB\n"
             "acquired               1,234,567\n"
             "  returned             1,234,550\n"
             "  after waiting              900\n"
             "timed out                     12\n"
             "cancelled                      2\n"
             "created                       25\n"
             "adopted                        1\n"
             "factory failures               5\n"
             "waited in all              1.5 s\n"
             "destroyed                     17\n"
             "  expired                      9\n"
             "  discarded                    8\n");
}

BOOST_AUTO_TEST_CASE(table_is_the_same_whatever_the_stream_was_set_to) {
  std::ostringstream out;
  out << std::hex << std::setfill('*') << std::setw(2000) << busy();
  BOOST_TEST(out.str() == printed(busy()));
}

BOOST_AUTO_TEST_CASE(a_pool_without_a_bound_has_no_max) {
  auto s = busy();
  s.max = no_limit;
  BOOST_TEST(printed(s).find("max                            -\n") != std::string::npos);
  BOOST_TEST(to_json(s).find("\"max\":null,") != std::string::npos);
  BOOST_TEST(to_openmetrics(s, "p").find("max_objects") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(json_has_every_field) {
  BOOST_TEST(
      to_json(busy()) ==
      R"({"total":10,"idle":3,"in_use":6,"creating":1,"waiting":4,"max":10,"retained_bytes":2048,)"
      R"("acquired":1234567,"returned":1234550,"waited":900,"timed_out":12,"cancelled":2,"created":25,)"
      R"("adopted":1,"factory_failures":5,"wait_time_seconds":1.5,"destroyed":{"closed":0,"surplus":0,)"
      R"("idle":0,"expired":9,"invalid":0,"unclean":0,"discarded":8,"evicted":0,"invalidated":0,)"
      R"("detached":0}})");
  std::istringstream in(to_json(busy()));
  boost::property_tree::ptree tree;
  boost::property_tree::read_json(in, tree);
  BOOST_TEST(tree.get<double>("wait_time_seconds") == 1.5);
}

BOOST_AUTO_TEST_CASE(openmetrics_has_families_units_and_reasons) {
  const std::string text = to_openmetrics(busy(), "the \"db\"");
  const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
  BOOST_TEST(
      text.starts_with("# TYPE cistern_object_pool_total_objects gauge\n"
                       "# UNIT cistern_object_pool_total_objects objects\n"
                       "# HELP cistern_object_pool_total_objects Objects that exist or are being created.\n"
                       "cistern_object_pool_total_objects{pool=\"the \\\"db\\\"\"} 10\n"));
  BOOST_TEST(has("# TYPE cistern_object_pool_acquired counter\n"));
  BOOST_TEST(has("\ncistern_object_pool_acquired_total{pool=\"the \\\"db\\\"\"} 1234567\n"));
  BOOST_TEST(has("# UNIT cistern_object_pool_wait_time_seconds seconds\n"));
  BOOST_TEST(has("\ncistern_object_pool_wait_time_seconds_total{pool=\"the \\\"db\\\"\"} 1.5\n"));
  BOOST_TEST(has("\ncistern_object_pool_destroyed_total{pool=\"the \\\"db\\\"\",reason=\"expired\"} 9\n"));
  BOOST_TEST(text.ends_with("\n# EOF\n"));
}

BOOST_AUTO_TEST_CASE(openmetrics_states_each_family_once) {
  std::istringstream in(to_openmetrics(busy(), "p"));
  std::set<std::string> families;
  int samples = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("# TYPE ")) {
      BOOST_TEST(families.insert(line).second);
      BOOST_TEST(line.find("_total ") == std::string::npos);
    }
    samples += line.starts_with("cistern_") ? 1 : 0;
  }
  BOOST_TEST(families.size() == 17U);
  BOOST_TEST(samples == 16 + static_cast<int>(destroy_reason_count));
}

BOOST_AUTO_TEST_CASE(every_reason_has_a_name_of_its_own) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < destroy_reason_count; ++i) {
    BOOST_TEST(names.insert(to_string(static_cast<destroy_reason>(i))).second);
  }
}
