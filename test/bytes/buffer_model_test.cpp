// Random programs on cistern::buffer and its model; the fuzz body's little sister, with a demand for
// coverage.
#include "../support/buffer_model.hpp"

#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstdint>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::test_support::model_coverage;
using cistern::test_support::model_run;

namespace {

std::vector<std::uint8_t> random_program(std::mt19937& random, std::size_t bytes) {
  std::vector<std::uint8_t> program(bytes);
  for (auto& byte : program) byte = static_cast<std::uint8_t>(random());
  return program;
}

void add(model_coverage& sum, const model_coverage& one) {
  sum.operations += one.operations;
  sum.slides += one.slides;
  sum.reallocations += one.reallocations;
  sum.aliased_appends += one.aliased_appends;
  sum.unreads += one.unreads;
  sum.refusals += one.refusals;
  sum.late_commits += one.late_commits;
}

}  // namespace

BOOST_AUTO_TEST_CASE(random_programs_do_what_the_model_does) {
  cistern::testing::checking_resource memory;
  cistern::unsynchronized_pool_resource pool(&memory);
  cistern::testing::checking_resource other;
  model_coverage sum;
  for (unsigned seed = 0; seed < 400; ++seed) {
    std::mt19937 random(seed);
    const auto program = random_program(random, 2'000);
    BOOST_TEST_CONTEXT("seed " << seed) {
      add(sum, model_run(program, &pool, &other).run());
    }
  }
  BOOST_TEST_MESSAGE(sum.operations << " operations, " << sum.slides << " slides, " << sum.reallocations
                                    << " reallocations, " << sum.aliased_appends << " aliased appends, "
                                    << sum.unreads << " un-reads, " << sum.refusals << " refusals");
  BOOST_TEST(sum.operations > 100'000U);
  BOOST_TEST(sum.slides > 500U);
  BOOST_TEST(sum.reallocations > 500U);
  BOOST_TEST(sum.aliased_appends > 5'000U);
  BOOST_TEST(sum.unreads > 500U);
  BOOST_TEST(sum.refusals > 500U);
  BOOST_TEST(sum.late_commits > 500U);
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}
