// The text forms of pool_statistics, each against its exact text and its format's rules.
#include <cistern/pool_statistics.hpp>

#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#define BOOST_BIND_GLOBAL_PLACEHOLDERS  // Or the next header warns about itself.
#include <boost/property_tree/json_parser.hpp>
#include <boost/property_tree/ptree.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/texts.hpp"

using cistern::pool_statistics;
using cistern::to_json;
using cistern::to_openmetrics;
using cistern::test_support::printed;

namespace {

pool_statistics busy_pool() {
  return {.in_use_bytes = 123'456'789,
          .idle_bytes = 40'960,
          .idle_in_lists_bytes = 3000,
          .idle_in_caches_bytes = 1032,
          .idle_in_spans_bytes = 64,
          .idle_in_pages_bytes = 4096,
          .idle_in_regions_bytes = 32'768,
          .idle_untouched_bytes = 20'480,
          .overhead_bytes = 800,
          .upstream_bytes = 123'498'549,
          .peak_upstream_bytes = 223'461'685,
          .upstream_allocations = 1234,
          .upstream_deallocations = 3,
          .given_back_idle_bytes = 70'000'000,
          .given_back_trim_bytes = 29'963'136,
          .given_back_need_bytes = 0,
          .discarded_bytes = 65'536,
          .buckets = {{16, 1'234'567, 8, 1'234'000, 0, 12, 575}, {1280, 0, 3, 3, 0, 3, 0}},
          .oversize = {4, 2, 2, 90'000'000}};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

boost::property_tree::ptree parsed(const std::string& json) {
  std::istringstream in(json);
  boost::property_tree::ptree tree;
  boost::property_tree::read_json(in, tree);
  return tree;
}

}  // namespace

BOOST_AUTO_TEST_CASE(table_of_a_busy_pool) {
  BOOST_TEST(printed(busy_pool()) ==
             "in use                  123,456,789  B  (117.73 MiB)\n"
             "  of which oversize      90,000,000  B   (85.83 MiB)\n"
             "idle                         40,960  B      (40 KiB)\n"
             "  in lists                    3,000  B    (2.92 KiB)\n"
             "  in caches                   1,032  B       (1 KiB)\n"
             "  in spans                       64  B\n"
             "  in pages                    4,096  B       (4 KiB)\n"
             "  in regions                 32,768  B      (32 KiB)\n"
             "    untouched                20,480  B      (20 KiB)\n"
             "overhead                        800  B\n"
             "held from upstream      123,498,549  B  (117.77 MiB)\n"
             "peak                    223,461,685  B   (213.1 MiB)\n"
             "upstream allocations          1,234\n"
             "upstream deallocations            3\n"
             "given back: idle         70,000,000  B   (66.75 MiB)\n"
             "given back: trim         29,963,136  B   (28.57 MiB)\n"
             "given back: need                  0  B\n"
             "discarded pages              65,536  B      (64 KiB)\n"
             "\n"
             "   block  live  free       hits  misses  hit rate   returned  discarded\n"
             "-----------------------------------------------------------------------\n"
             "    16 B   575    12  1,234,567       8    99.9 %  1,234,000          0\n"
             "1.25 KiB     0     3          0       3         -          3          0\n"
             "oversize     2     -          -       4         -          -          2\n");
}

BOOST_AUTO_TEST_CASE(table_of_a_new_pool_has_only_totals) {
  BOOST_TEST(printed(pool_statistics{}) ==
             "in use                  0  B\n"
             "idle                    0  B\n"
             "  in lists              0  B\n"
             "  in caches             0  B\n"
             "  in spans              0  B\n"
             "  in pages              0  B\n"
             "  in regions            0  B\n"
             "    untouched           0  B\n"
             "overhead                0  B\n"
             "held from upstream      0  B\n"
             "peak                    0  B\n"
             "upstream allocations    0\n"
             "upstream deallocations  0\n"
             "given back: idle        0  B\n"
             "given back: trim        0  B\n"
             "given back: need        0  B\n"
             "discarded pages         0  B\n");
}

BOOST_AUTO_TEST_CASE(table_is_the_same_whatever_the_stream_was_set_to) {
  std::ostringstream out;
  out << std::hex << std::setfill('*') << std::setw(2000) << busy_pool();
  BOOST_TEST(out.str() == printed(busy_pool()));
}

BOOST_AUTO_TEST_CASE(table_rows_fit_the_largest_numbers) {
  pool_statistics s;
  s.in_use_bytes = s.peak_upstream_bytes = SIZE_MAX;
  s.buckets = {{8, UINT64_MAX / 2, UINT64_MAX / 2, 0, 0, SIZE_MAX, SIZE_MAX}};
  const auto lines = lines_of(printed(s));
  BOOST_TEST(lines.front() == "in use                  18,446,744,073,709,551,615  B  (15.99 EiB)");
  BOOST_TEST(lines.back().size() == lines[lines.size() - 2].size());
  BOOST_TEST(lines.back().find("50.0 %") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(no_line_ends_in_a_space) {
  for (const std::string& line : lines_of(printed(busy_pool())))
    BOOST_TEST((line.empty() || line.back() != ' '));
}

BOOST_AUTO_TEST_CASE(all_hits_is_a_hundred_percent_and_less_is_not) {
  pool_statistics s;
  s.buckets = {{8, 10, 0, 10, 0, 0, 0}, {16, 1'000'000, 1, 0, 0, 0, 0}, {24, 3, 1, 0, 0, 0, 0}};
  const auto lines = lines_of(printed(s));
  BOOST_TEST(lines[lines.size() - 3].find(" 100.0 %") != std::string::npos);
  BOOST_TEST(lines[lines.size() - 2].find(" 99.9 %") != std::string::npos);
  BOOST_TEST(lines[lines.size() - 1].find(" 75.0 %") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(json_has_every_field_under_its_name) {
  const std::string json = to_json(busy_pool());
  BOOST_TEST(
      json ==
      R"({"in_use_bytes":123456789,"idle_bytes":40960,"idle_in_lists_bytes":3000,"idle_in_caches_bytes":1032,)"
      R"("idle_in_spans_bytes":64,"idle_in_pages_bytes":4096,"idle_in_regions_bytes":32768,)"
      R"("idle_untouched_bytes":20480,)"
      R"("overhead_bytes":800,"upstream_bytes":123498549,)"
      R"("peak_upstream_bytes":223461685,"upstream_allocations":1234,"upstream_deallocations":3,)"
      R"("given_back_idle_bytes":70000000,"given_back_trim_bytes":29963136,"given_back_need_bytes":0,)"
      R"("discarded_bytes":65536,)"
      R"("buckets":[{"block_bytes":16,"hits":1234567,"misses":8,"returned":1234000,"discarded":0,"depth":12,)"
      R"("live_blocks":575},{"block_bytes":1280,"hits":0,"misses":3,"returned":3,"discarded":0,"depth":3,)"
      R"("live_blocks":0}],"oversize":{"allocations":4,"deallocations":2,"live_blocks":2,)"
      R"("live_bytes":90000000}})");
}

BOOST_AUTO_TEST_CASE(json_is_read_back_by_a_parser) {
  const auto tree = parsed(to_json(busy_pool()));
  BOOST_TEST(tree.get<std::size_t>("upstream_bytes") == 123'498'549u);
  BOOST_TEST(tree.get_child("buckets").size() == 2u);
  BOOST_TEST(tree.get_child("buckets").back().second.get<std::size_t>("block_bytes") == 1280u);
  BOOST_TEST(tree.get<std::uint64_t>("oversize.live_bytes") == 90'000'000u);
  BOOST_TEST(parsed(to_json({})).get_child("buckets").empty());
}

BOOST_AUTO_TEST_CASE(openmetrics_of_a_small_pool) {
  pool_statistics s;
  s.in_use_bytes = 64;
  s.upstream_bytes = 64;
  s.peak_upstream_bytes = 128;
  s.upstream_allocations = 2;
  s.upstream_deallocations = 1;
  const std::string text = to_openmetrics(s, "main");
  const std::string expected =
      "# TYPE cistern_pool_in_use_bytes gauge\n"
      "# UNIT cistern_pool_in_use_bytes bytes\n"
      "# HELP cistern_pool_in_use_bytes Blocks in the hands of users, at their block size.\n"
      "cistern_pool_in_use_bytes{pool=\"main\"} 64\n";
  BOOST_TEST(text.substr(0, expected.size()) == expected);
  BOOST_TEST(text.find("\n# TYPE cistern_pool_upstream_allocations counter\n"
                       "# HELP cistern_pool_upstream_allocations Successful allocations from upstream.\n"
                       "cistern_pool_upstream_allocations_total{pool=\"main\"} 2\n") != std::string::npos);
  BOOST_TEST(text.find("cistern_pool_bucket") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(openmetrics_of_counted_bytes_names_their_unit) {
  const std::string text = to_openmetrics(busy_pool(), "p");
  BOOST_TEST(
      text.find("\n# TYPE cistern_pool_given_back_idle_bytes counter\n"
                "# UNIT cistern_pool_given_back_idle_bytes bytes\n"
                "# HELP cistern_pool_given_back_idle_bytes Bytes given back as more was idle than may be.\n"
                "cistern_pool_given_back_idle_bytes_total{pool=\"p\"} 70000000\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(openmetrics_labels_buckets_with_their_size) {
  const std::string text = to_openmetrics(busy_pool(), "p");
  BOOST_TEST(text.find("\ncistern_pool_bucket_hits_total{pool=\"p\",block_bytes=\"16\"} 1234567\n"
                       "cistern_pool_bucket_hits_total{pool=\"p\",block_bytes=\"1280\"} 0\n") !=
             std::string::npos);
  BOOST_TEST(text.find("\ncistern_pool_bucket_depth_blocks{pool=\"p\",block_bytes=\"16\"} 12\n") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(openmetrics_escapes_the_pool_name) {
  const std::string text = to_openmetrics({}, "a \"b\" \\ c\nd");
  BOOST_TEST(text.find(R"({pool="a \"b\" \\ c\nd"})") != std::string::npos);
}

// The rules of the format that a scraper trips over.
BOOST_AUTO_TEST_CASE(openmetrics_keeps_the_rules_of_the_format) {
  const std::string text = to_openmetrics(busy_pool(), "p");
  BOOST_TEST(text.ends_with("\n# EOF\n"));
  std::set<std::string> families;
  std::string family;
  std::string type;
  std::string unit;
  bool has_help = false;
  for (const std::string& line : lines_of(text)) {
    std::istringstream in(line);
    std::string first;
    std::string keyword;
    std::string name;
    in >> first;
    if (line == "# EOF") continue;
    if (first == "#") {
      in >> keyword >> name;
      if (keyword == "TYPE") {
        in >> type;
        family = name;
        unit.clear();
        has_help = false;
        BOOST_TEST(families.insert(family).second, "a family stands in one place: " << family);
        BOOST_TEST(!family.ends_with("_total"));
        BOOST_TEST((type == "gauge" || type == "counter"));
      } else if (keyword == "UNIT") {
        in >> unit;
        BOOST_TEST(family.ends_with("_" + unit), "a family's name ends in its unit: " << family);
      } else {
        BOOST_TEST(keyword == "HELP");
        has_help = true;
      }
      BOOST_TEST(name == family);
      continue;
    }
    const std::string sample = first.substr(0, first.find('{'));
    BOOST_TEST(sample == (type == "counter" ? family + "_total" : family));
    BOOST_TEST(has_help, "nobody says what this is: " << family);
    const bool says_unit = type == "gauge" || family.ends_with("_bytes");  // other counters have none
    BOOST_TEST(!unit.empty() == says_unit, family);
    BOOST_TEST(line.find("{pool=\"p\"") == sample.size());
    BOOST_TEST(line.find_first_not_of("0123456789", line.find("} ") + 2) == std::string::npos);
  }
  BOOST_TEST(families.size() == 27u);
}
