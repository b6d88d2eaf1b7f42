// Options that make sense pass as they are; the others are refused with the field, its value and the rule.
#include <cistern/object_pool_options.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>

#include <boost/test/unit_test.hpp>

using cistern::largest_max_size;
using cistern::object_pool_options;
using cistern::validated;
using namespace std::chrono_literals;

namespace {

std::string refusal_of(const object_pool_options& options) {
  try {
    (void)validated(options);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

bool refuses(const object_pool_options& options, const std::string& field, const std::string& rule) {
  const std::string text = refusal_of(options);
  const bool as_expected = text.starts_with("object_pool_options: " + field + " (") && text.ends_with(rule);
  if (!as_expected) BOOST_TEST_MESSAGE("\"" << text << "\" instead of " << field << " ... " << rule);
  return as_expected;
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_makes_sense_is_returned_as_it_is) {
  const object_pool_options defaults;
  BOOST_TEST(&validated(defaults) == &defaults);
  BOOST_TEST(refusal_of({.max_size = 1, .max_idle = 0}) == "accepted");
  BOOST_TEST(refusal_of({.max_size = largest_max_size}) == "accepted");
  BOOST_TEST(refusal_of({.max_size = SIZE_MAX}) == "accepted");  // no bound
  BOOST_TEST(refusal_of({.max_size = 5, .max_idle = 5, .min_idle = 5, .initial = 5}) == "accepted");
  BOOST_TEST(refusal_of({.acquire_timeout = 0s, .idle_timeout = 0s, .max_lifetime = 0s}) == "accepted");
  BOOST_TEST(refusal_of({.lifetime_jitter = 0.0}) == "accepted");
  BOOST_TEST(refusal_of({.lifetime_jitter = 1.0}) == "accepted");
}

BOOST_AUTO_TEST_CASE(sizes_out_of_range_are_refused) {
  BOOST_TEST(refusal_of({.max_size = 0}) == "object_pool_options: max_size (0) must be at least 1");
  BOOST_TEST(refusal_of({.max_size = largest_max_size + 1}).find("max_size (268435456) exceeds 268435455") !=
             std::string::npos);
  BOOST_TEST(refusal_of({.max_size = SIZE_MAX - 1}).find("exceeds 268435455") != std::string::npos);
  BOOST_TEST(refuses({.max_size = 5, .initial = 6}, "initial", "(6) exceeds max_size (5)"));
  BOOST_TEST(refuses({.max_size = 5, .max_idle = 3, .initial = 4}, "initial", "(4) exceeds max_idle (3)"));
  BOOST_TEST(refuses({.max_size = 5, .min_idle = 6}, "min_idle", "(6) exceeds max_size (5)"));
  BOOST_TEST(refuses({.max_size = 5, .max_idle = 3, .min_idle = 4}, "min_idle", "(4) exceeds max_idle (3)"));
}

BOOST_AUTO_TEST_CASE(negative_durations_are_refused) {
  const auto rule = "(-1 ns) is negative";
  BOOST_TEST(refuses({.acquire_timeout = -1ns}, "acquire_timeout", rule));
  BOOST_TEST(refuses({.idle_timeout = -1ns}, "idle_timeout", rule));
  BOOST_TEST(refuses({.max_lifetime = -1ns}, "max_lifetime", rule));
  BOOST_TEST(refuses({.validate_after = -1ns}, "validate_after", rule));
  BOOST_TEST(refuses({.backoff_max = -1ns}, "backoff_max", rule));
}

BOOST_AUTO_TEST_CASE(jitter_is_a_fraction) {
  for (const double jitter : {-0.001, 1.001, std::nan(""), std::numeric_limits<double>::infinity()}) {
    BOOST_TEST(refuses({.lifetime_jitter = jitter}, "lifetime_jitter", "must be from 0 to 1"));
  }
}
