// Random programs on each pool and its model, under many options; the fuzz bodies' little sister, with a
// demand for coverage.
#include <cistern/pool_options.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/pool_program.hpp"

using cistern::pool_options;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

namespace {

constexpr std::size_t kib = 1024;

std::vector<std::uint8_t> random_program(std::mt19937_64& random, std::size_t bytes) {
  std::vector<std::uint8_t> program(bytes);
  for (auto& byte : program) byte = static_cast<std::uint8_t>(random());
  return program;
}

const std::vector<std::pair<const char*, pool_options>> all_options = {
    {"defaults", {}},
    {"a low ceiling", {.max_bytes = 200 * kib}},
    {"a tiny ceiling", {.max_bytes = 5'000}},
    {"nothing idle", {.max_idle_bytes = 0}},
    {"little idle", {.max_idle_bytes = 100 * kib}},
    {"no block idle", {.max_idle_blocks_per_bucket = 0}},
    {"few blocks idle", {.max_idle_blocks_per_bucket = 5}},
    {"small chunks", {.max_blocks_per_chunk = 3}},
    {"chunks of one block", {.max_blocks_per_chunk = 1, .max_idle_bytes = 20 * kib}},
    {"small blocks pooled only", {.largest_required_pool_block = 100}},
    {"no thread caches", {.thread_cache_bytes = 0}},
    {"small thread caches", {.max_idle_bytes = 100 * kib, .thread_cache_bytes = 1'000}},
    {"zeroing", {.largest_required_pool_block = 10 * kib, .zero_on_free = true}},
    {"zeroing with bounds",
     {.max_idle_bytes = 50 * kib, .max_idle_blocks_per_bucket = 9, .zero_on_free = true}},
    {"null mode", {.pass_through = true}},
    {"null mode under a ceiling", {.max_bytes = 300 * kib, .pass_through = true}},
    {"uncounted without limits",
     {.largest_required_pool_block = cistern::no_limit,
      .max_idle_bytes = cistern::no_limit,
      .count_operations = false}}};

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(random_programs_do_what_the_model_does, Pool, pools) {
  pool_coverage sum;
  for (const auto& [name, options] : all_options) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      BOOST_TEST_CONTEXT(name << ", seed " << seed) {
        std::mt19937_64 random(seed);
        sum += pool_program<Pool>(options, random_program(random, scaled(6'000))).run();
      }
    }
  }
  BOOST_TEST_MESSAGE(sum.operations << " operations, " << sum.allocations << " allocations, " << sum.refusals
                                    << " refusals, " << sum.unusual_errors << " unusual errors, " << sum.trims
                                    << " trims, " << sum.releases << " releases, " << sum.pools << " pools, "
                                    << sum.threads << " threads");
  BOOST_TEST(sum.operations > scaled(50'000));
  BOOST_TEST(sum.allocations > scaled(50'000));
  BOOST_TEST(sum.refusals > scaled(5'000));
  BOOST_TEST(sum.unusual_errors > scaled(300));
  BOOST_TEST(sum.trims > scaled(300));
  BOOST_TEST((sum.releases > 100U || sanitized));  // rare: a tenth of each program may have none
  BOOST_TEST(sum.pools > scaled(100));
  BOOST_TEST(sum.threads > scaled(300));
}
