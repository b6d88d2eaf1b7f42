// Several statistics in one OpenMetrics text: families once, in one place, names told apart.
#include <cistern/named_statistics.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../../src/base/statistics_text.hpp"

namespace test_kinds {

// Two kinds of statistics, with families of their own; the second has one only at times.
struct tank {
  std::uint64_t litres = 0;
  friend void add_openmetrics(cistern::detail::openmetrics_text& text, const tank& t, std::string_view name) {
    text.about("tank", "tank", name);
    text.gauge("tank_litres", "litres", "What is in it.");
    text.sample(t.litres);
  }
};

struct pump {
  std::uint64_t strokes = 0;
  std::uint64_t failures = 0;
  friend void add_openmetrics(cistern::detail::openmetrics_text& text, const pump& p, std::string_view name) {
    text.about("pump", "pump", name);
    if (p.failures != 0) {
      text.counter("pump_failures", "How often it stood still.");
      text.sample(p.failures);
    }
    text.counter("pump_strokes", "How often it moved.");
    text.sample(p.strokes);
  }
};

}  // namespace test_kinds

using cistern::named_statistics;
using cistern::to_openmetrics;
using test_kinds::pump;
using test_kinds::tank;

static_assert(!std::is_constructible_v<named_statistics, std::string, int>);

BOOST_AUTO_TEST_CASE(none_is_an_empty_text) {
  BOOST_TEST(to_openmetrics({}) == "# EOF\n");
}

BOOST_AUTO_TEST_CASE(each_family_once_with_the_samples_of_all) {
  BOOST_TEST(to_openmetrics({{"a", tank{1}}, {"p", pump{2, 0}}, {"b", tank{3}}, {"q", pump{4, 5}}}) ==
             "# TYPE tank_litres gauge\n# UNIT tank_litres litres\n# HELP tank_litres What is in it.\n"
             "tank_litres{tank=\"a\"} 1\n"
             "tank_litres{tank=\"b\"} 3\n"
             "# TYPE pump_strokes counter\n# HELP pump_strokes How often it moved.\n"
             "pump_strokes_total{pump=\"p\"} 2\n"
             "pump_strokes_total{pump=\"q\"} 4\n"
             "# TYPE pump_failures counter\n# HELP pump_failures How often it stood still.\n"
             "pump_failures_total{pump=\"q\"} 5\n"
             "# EOF\n");
}

BOOST_AUTO_TEST_CASE(one_is_a_list_too) {
  BOOST_TEST(to_openmetrics({{"a", tank{1}}}).find("\ntank_litres{tank=\"a\"} 1\n# EOF\n") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_vector_does_as_well_and_has_copies) {
  std::vector<named_statistics> all;
  {
    std::string name = "kept";
    tank kept{7};
    all.emplace_back(name, kept);
    name = "changed";
    kept.litres = 0;
  }
  const std::vector<named_statistics> copies = all;
  all.clear();
  BOOST_TEST(to_openmetrics(copies).find("\ntank_litres{tank=\"kept\"} 7\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(two_of_one_kind_must_have_two_names) {
  const auto says = [](const char* words) {
    return [words](const std::invalid_argument& error) { return std::string_view(error.what()) == words; };
  };
  BOOST_CHECK_EXCEPTION((void)to_openmetrics({{"same", tank{1}}, {"same", tank{2}}}), std::invalid_argument,
                        says("cistern: more than one tank is called \"same\" in an OpenMetrics text"));
  // Other bytes, but the same once they are characters.
  BOOST_CHECK_EXCEPTION((void)to_openmetrics({{"\xff", tank{1}}, {"\xfe", tank{2}}}), std::invalid_argument,
                        says("cistern: more than one tank is called \"\uFFFD\" in an OpenMetrics text"));
  BOOST_TEST(to_openmetrics({{"same", tank{1}}, {"same", pump{2, 0}}}).ends_with("# EOF\n"));
  BOOST_TEST(to_openmetrics({{"a\n", tank{1}}, {"a\\n", tank{2}}}).ends_with("# EOF\n"));
}
