// Random programs on cistern::chains and their models; the fuzz body's little sister, with a demand for
// coverage.
#include "../support/chain_model.hpp"

#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstdint>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::test_support::chain_coverage;
using cistern::test_support::chain_model_run;

namespace {

void add(chain_coverage& sum, const chain_coverage& one) {
  sum.operations += one.operations;
  sum.commits += one.commits;
  sum.commits_behind_others += one.commits_behind_others;
  sum.refused_commits += one.refused_commits;
  sum.regions_moved += one.regions_moved;
  sum.splits_at_prepared += one.splits_at_prepared;
}

}  // namespace

BOOST_AUTO_TEST_CASE(random_programs_do_what_the_model_does) {
  cistern::testing::checking_resource memory;
  cistern::unsynchronized_pool_resource pool(&memory);
  cistern::testing::checking_resource other;
  chain_coverage sum;
  for (unsigned seed = 0; seed < 400; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::uint8_t> program(1'000);
    for (auto& byte : program) byte = static_cast<std::uint8_t>(random());
    BOOST_TEST_CONTEXT("seed " << seed) {
      add(sum, chain_model_run(program, &pool, &other).run());
    }
  }
  BOOST_TEST_MESSAGE(sum.operations << " operations, " << sum.commits << " commits, "
                                    << sum.commits_behind_others << " behind others, " << sum.refused_commits
                                    << " refused, " << sum.regions_moved << " regions moved, "
                                    << sum.splits_at_prepared << " splits at prepared regions");
  BOOST_TEST(sum.operations > 50'000U);
  BOOST_TEST(sum.commits > 2'000U);
  BOOST_TEST(sum.commits_behind_others > 500U);
  BOOST_TEST(sum.refused_commits > 500U);
  BOOST_TEST(sum.regions_moved > 200U);
  BOOST_TEST(sum.splits_at_prepared > 100U);
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}
