// The pieces that every report is made of: numbers, tables, JSON and OpenMetrics, at their edges.
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>

#define BOOST_BIND_GLOBAL_PLACEHOLDERS  // Or the next header warns about itself.
#include <boost/property_tree/json_parser.hpp>
#include <boost/property_tree/ptree.hpp>
#include <boost/test/unit_test.hpp>

#include "../../src/base/statistics_text.hpp"

using namespace cistern::detail;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kib = 1024;

}  // namespace

BOOST_AUTO_TEST_CASE(thousands_are_set_apart) {
  BOOST_TEST(with_thousands(0) == "0");
  BOOST_TEST(with_thousands(999) == "999");
  BOOST_TEST(with_thousands(1'000) == "1,000");
  BOOST_TEST(with_thousands(123'456) == "123,456");
  BOOST_TEST(with_thousands(1'234'567) == "1,234,567");
  BOOST_TEST(with_thousands(largest) == "18,446,744,073,709,551,615");
}

BOOST_AUTO_TEST_CASE(bytes_in_the_largest_unit_that_leaves_one) {
  BOOST_TEST(in_binary_units(0) == "0 B");
  BOOST_TEST(in_binary_units(1023) == "1023 B");
  BOOST_TEST(in_binary_units(kib) == "1 KiB");
  BOOST_TEST(in_binary_units(kib + 256) == "1.25 KiB");
  BOOST_TEST(in_binary_units(kib + 512) == "1.5 KiB");
  BOOST_TEST(in_binary_units(kib + 11) == "1.01 KiB");
  BOOST_TEST(in_binary_units(kib + 10) == "1 KiB");  // rounded down
  BOOST_TEST(in_binary_units(64 * kib * kib) == "64 MiB");
  BOOST_TEST(in_binary_units(largest) == "15.99 EiB");
  for (const auto& [unit_bytes, less, unit] :
       {std::tuple{kib * kib, "1023.99 KiB", "1 MiB"}, std::tuple{kib * kib * kib, "1023.99 MiB", "1 GiB"},
        std::tuple{kib * kib * kib * kib, "1023.99 GiB", "1 TiB"},
        std::tuple{std::uint64_t{1} << 50, "1023.99 TiB", "1 PiB"},
        std::tuple{std::uint64_t{1} << 60, "1023.99 PiB", "1 EiB"}}) {
    BOOST_TEST(in_binary_units(unit_bytes - 1) == less);
    BOOST_TEST(in_binary_units(unit_bytes) == unit);
  }
}

BOOST_AUTO_TEST_CASE(a_hundred_percent_means_all) {
  BOOST_TEST(percentage(0, 0) == "-");
  BOOST_TEST(percentage(0, 5) == "0.0 %");
  BOOST_TEST(percentage(1, 3) == "33.3 %");
  BOOST_TEST(percentage(2, 3) == "66.6 %");
  BOOST_TEST(percentage(999'999, 1'000'000) == "99.9 %");
  BOOST_TEST(percentage(largest - 1, largest) == "99.9 %");
  BOOST_TEST(percentage(largest, largest) == "100.0 %");
  BOOST_TEST(percentage(3, 2) == "150.0 %");
}

BOOST_AUTO_TEST_CASE(columns_are_as_wide_as_their_widest_cell) {
  text_table table;
  table.add_row({"a", "bcd", "e"});
  table.add_rule();
  table.add_row({"fgh", "i"});
  BOOST_TEST(table.text() ==
             "  a  bcd  e\n"
             "-----------\n"
             "fgh    i\n");
  BOOST_TEST(text_table().text().empty());
}

BOOST_AUTO_TEST_CASE(the_first_column_may_be_left_aligned) {
  text_table table(text_table::first_column::left);
  table.add_row({"name", "number"});
  table.add_row({"x", "1"});
  table.add_row({"only"});
  table.add_row({"", ""});
  BOOST_TEST(table.text() ==
             "name  number\n"
             "x          1\n"
             "only\n"
             "\n");
}

BOOST_AUTO_TEST_CASE(json_is_read_as_what_was_written) {
  const std::string odd = "quote \" backslash \\ newline \n tab \t bell \a delete \x7f utf-8 \xc3\xa4";
  json_object inner;
  inner.add("largest", largest).add_raw("list", json_array({"1", "2", json_quoted("three")}));
  json_object outer;
  outer.add_raw(odd, json_quoted(odd)).add_raw("inner", inner.text()).add_raw("none", json_array({}));
  outer.add({{"first", "First", "The first.", 1}, {"second", "Second", "The second.", 2}});

  std::istringstream in(outer.text());
  boost::property_tree::ptree tree;
  boost::property_tree::read_json(in, tree);
  BOOST_TEST(tree.front().first == odd);
  BOOST_TEST(tree.front().second.data() == odd);
  BOOST_TEST(tree.get<std::uint64_t>("inner.largest") == largest);
  BOOST_TEST(tree.get_child("inner.list").size() == 3U);
  BOOST_TEST(tree.get_child("none").empty());
  BOOST_TEST(tree.get<int>("first") == 1);
  BOOST_TEST(tree.get<int>("second") == 2);
  BOOST_TEST(json_object().text() == "{}");
}

BOOST_AUTO_TEST_CASE(json_has_no_raw_control_character) {
  for (int c = 0; c < 0x20; ++c) {
    const std::string quoted = json_quoted(std::string(1, static_cast<char>(c)));
    BOOST_TEST(quoted.size() == 8U);
    BOOST_TEST(quoted.substr(0, 5) == "\"\\u00");
  }
}

BOOST_AUTO_TEST_CASE(json_is_valid_utf8) {
  BOOST_TEST(json_quoted("\u00e9\u20ac\U0001F600\uFFFD") == "\"\u00e9\u20ac\U0001F600\uFFFD\"");
  BOOST_TEST(json_quoted("a\xff\"b") == "\"a\uFFFD\\\"b\"");
  BOOST_TEST(json_quoted("\xc0\xaf") == "\"\uFFFD\uFFFD\"");            // an overlong form
  BOOST_TEST(json_quoted("\xed\xa0\x80") == "\"\uFFFD\uFFFD\uFFFD\"");  // a surrogate
  BOOST_TEST(json_quoted("\xe2\x82\n") == "\"\uFFFD\uFFFD\\u000a\"");   // cut short
}

BOOST_AUTO_TEST_CASE(openmetrics_labels_are_escaped) {
  BOOST_TEST(openmetrics_escaped("plain") == "plain");
  BOOST_TEST(openmetrics_escaped("a\"b\\c\nd") == "a\\\"b\\\\c\\nd");
}

BOOST_AUTO_TEST_CASE(openmetrics_labels_are_valid_utf8) {
  BOOST_TEST(openmetrics_escaped("\u00e9\u20ac\U0001F600\uFFFD") == "\u00e9\u20ac\U0001F600\uFFFD");
  BOOST_TEST(openmetrics_escaped(std::string_view("\0\t\x7f", 3)) == std::string_view("\0\t\x7f", 3));
  BOOST_TEST(openmetrics_escaped("a\xff\"b") == "a\uFFFD\\\"b");
  BOOST_TEST(openmetrics_escaped("\xc0\xaf") == "\uFFFD\uFFFD");            // an overlong form
  BOOST_TEST(openmetrics_escaped("\xed\xa0\x80") == "\uFFFD\uFFFD\uFFFD");  // a surrogate
  BOOST_TEST(openmetrics_escaped("\xe2\x82\n") == "\uFFFD\uFFFD\\n");       // cut short
}

BOOST_AUTO_TEST_CASE(openmetrics_families_stand_in_one_place) {
  openmetrics_text text;
  for (const std::string name : {"first", "second"}) {
    text.about("pool", "pool", name);
    text.counter("calls", "How many calls.");
    text.sample(name.size());
    text.histogram("wait", "", "How long.", {{1, 2}}, 2, 3);
  }
  BOOST_TEST(std::move(text).finish() ==
             "# TYPE calls counter\n# HELP calls How many calls.\n"
             "calls_total{pool=\"first\"} 5\n"
             "calls_total{pool=\"second\"} 6\n"
             "# TYPE wait histogram\n# HELP wait How long.\n"
             "wait_bucket{pool=\"first\",le=\"1.0\"} 2\n"
             "wait_bucket{pool=\"first\",le=\"+Inf\"} 2\n"
             "wait_count{pool=\"first\"} 2\n"
             "wait_sum{pool=\"first\"} 3\n"
             "wait_bucket{pool=\"second\",le=\"1.0\"} 2\n"
             "wait_bucket{pool=\"second\",le=\"+Inf\"} 2\n"
             "wait_count{pool=\"second\"} 2\n"
             "wait_sum{pool=\"second\"} 3\n"
             "# EOF\n");
}

BOOST_AUTO_TEST_CASE(openmetrics_families_and_samples) {
  openmetrics_text text;
  text.about("pool", "pool", "a \"b\"");
  text.gauge("held_bytes", "bytes", "What is held.");
  text.sample(12);
  text.counter("calls", "How many calls.");
  text.sample(3, "kind=\"odd\"");
  text.histogram("wait_seconds", "seconds", "How long.", {{1, 4}, {8, 0}, {64, 2}}, 7, 99);
  text.gauges("x_", "bytes", {{"idle_bytes", "", "Idle.", 5}, {"depth", "", "Depth.", 6}});
  text.counters("x_", {{"hits", "", "Hits.", 8}});
  text.counters("x_", {{"lost_bytes", "", "Lost.", 9}}, "bytes");
  const std::string label = "{pool=\"a \\\"b\\\"\"";
  const std::string expected =
      "# TYPE held_bytes gauge\n# UNIT held_bytes bytes\n# HELP held_bytes What is held.\n"
      "held_bytes" +
      label +
      "} 12\n"
      "# TYPE calls counter\n# HELP calls How many calls.\n"
      "calls_total" +
      label +
      ",kind=\"odd\"} 3\n"
      "# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n# HELP wait_seconds How long.\n"
      "wait_seconds_bucket" +
      label +
      ",le=\"1.0\"} 4\n"
      "wait_seconds_bucket" +
      label +
      ",le=\"8.0\"} 4\n"
      "wait_seconds_bucket" +
      label +
      ",le=\"64.0\"} 6\n"
      "wait_seconds_bucket" +
      label +
      ",le=\"+Inf\"} 7\n"
      "wait_seconds_count" +
      label +
      "} 7\n"
      "wait_seconds_sum" +
      label +
      "} 99\n"
      "# TYPE x_idle_bytes gauge\n# UNIT x_idle_bytes bytes\n# HELP x_idle_bytes Idle.\n"
      "x_idle_bytes" +
      label +
      "} 5\n"
      "# TYPE x_depth_bytes gauge\n# UNIT x_depth_bytes bytes\n# HELP x_depth_bytes Depth.\n"
      "x_depth_bytes" +
      label +
      "} 6\n"
      "# TYPE x_hits counter\n# HELP x_hits Hits.\n"
      "x_hits_total" +
      label +
      "} 8\n"
      "# TYPE x_lost_bytes counter\n# UNIT x_lost_bytes bytes\n# HELP x_lost_bytes Lost.\n"
      "x_lost_bytes_total" +
      label +
      "} 9\n"
      "# EOF\n";
  BOOST_TEST(std::move(text).finish() == expected);
}
