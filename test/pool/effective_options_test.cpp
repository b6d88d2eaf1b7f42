// From the options a user asks for to those a pool works with: defaults, bounds, refusals that name field,
// value and bound; and what they mean for a request.
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/effective_options.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/pool_options.hpp>

#include <cstddef>
#include <memory_resource>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/environment_variable.hpp"
#include "../support/pool_model.hpp"

using cistern::no_limit;
using cistern::pool_options;
using cistern::test_support::environment_variable;
using namespace cistern::detail;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;
constexpr std::size_t absurd = std::size_t{1} << 40;

// Pools made by a program that runs with the variable set mean what the test says all the same.
const environment_variable not_set("CISTERN_PASS_THROUGH", nullptr);

std::string refusal_of(const pool_options& asked) {
  try {
    (void)effective_options(asked);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

BOOST_AUTO_TEST_CASE(defaults) {
  const pool_options options = effective_options({});
  BOOST_TEST(options.max_blocks_per_chunk == 65'536U);
  BOOST_TEST(options.largest_required_pool_block == 32 * mib);
  BOOST_TEST(options.max_bytes == no_limit);
  BOOST_TEST(options.max_idle_bytes == 64 * mib);
  BOOST_TEST(options.max_idle_blocks_per_bucket == no_limit);
  BOOST_TEST(options.thread_cache_bytes == 8 * mib);
  BOOST_TEST(options.thread_caches_total_bytes == 32 * mib);
  BOOST_TEST(!options.zero_on_free);
  BOOST_TEST(options.count_operations);
  BOOST_TEST(!options.pass_through);
  BOOST_TEST(options.sample_guard == 0u);
}

BOOST_AUTO_TEST_CASE(what_can_be_honoured_stays_as_it_is) {
  const pool_options asked{.max_blocks_per_chunk = 7,
                           .largest_required_pool_block = 4096,
                           .max_bytes = 1,
                           .max_idle_bytes = 1000,
                           .max_idle_blocks_per_bucket = 1,
                           .thread_cache_bytes = 1000,
                           .thread_caches_total_bytes = 5000,
                           .zero_on_free = true,
                           .count_operations = false,
                           .pass_through = true};
  BOOST_TEST((effective_options(asked) == asked));
}

BOOST_AUTO_TEST_CASE(effective_options_are_effective_already) {
  for (const pool_options& asked :
       {pool_options{}, pool_options{.largest_required_pool_block = 1000, .max_idle_bytes = 5},
        pool_options{.max_blocks_per_chunk = no_limit, .largest_required_pool_block = no_limit}}) {
    const pool_options options = effective_options(asked);
    BOOST_TEST((effective_options(options) == options));
  }
}

BOOST_AUTO_TEST_CASE(values_beyond_the_implementation_are_lowered) {
  BOOST_TEST(effective_options({.max_blocks_per_chunk = 65'537}).max_blocks_per_chunk == 65'536U);
  BOOST_TEST(effective_options({.max_blocks_per_chunk = no_limit}).max_blocks_per_chunk == 65'536U);
  for (const std::size_t large : {largest_block_bytes, largest_block_bytes + 1, absurd - 1, no_limit}) {
    BOOST_TEST(effective_options({.largest_required_pool_block = large}).largest_required_pool_block ==
               largest_block_bytes);
  }
  BOOST_TEST(effective_options({.max_idle_bytes = 1000}).thread_cache_bytes == 1000U);
  BOOST_TEST(effective_options({.max_idle_bytes = 0}).thread_cache_bytes == 0U);
  BOOST_TEST(effective_options({.thread_caches_total_bytes = 2000}).thread_cache_bytes == 2000U);
  BOOST_TEST(effective_options({.thread_caches_total_bytes = 0}).thread_cache_bytes == 0U);
}

BOOST_AUTO_TEST_CASE(the_largest_pooled_block_is_a_block_size) {
  for (const auto& [asked, expected] : std::vector<std::pair<std::size_t, std::size_t>>{
           {1, 16}, {16, 16}, {17, 24}, {1000, 1024}, {1024, 1024}, {1025, 1280}}) {
    BOOST_TEST(effective_options({.largest_required_pool_block = asked}).largest_required_pool_block ==
               expected);
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_honoured_is_refused_by_name) {
  BOOST_TEST(refusal_of({.max_bytes = 0}) == "cistern::pool_options::max_bytes is 0, must be at least 1");
  const std::string bound = std::to_string(absurd);
  for (const std::size_t value : {absurd, no_limit - 1}) {
    const std::string says = " is " + std::to_string(value) + ", must be below " + bound;
    BOOST_TEST(refusal_of({.max_blocks_per_chunk = value}) ==
               "cistern::pool_options::max_blocks_per_chunk" + says);
    BOOST_TEST(refusal_of({.largest_required_pool_block = value}) ==
               "cistern::pool_options::largest_required_pool_block" + says);
    BOOST_TEST(refusal_of({.thread_cache_bytes = value}) ==
               "cistern::pool_options::thread_cache_bytes" + says);
  }
  BOOST_TEST(refusal_of({.max_blocks_per_chunk = absurd - 1}) == "accepted");
  BOOST_TEST(refusal_of({.thread_cache_bytes = absurd - 1}) == "accepted");
  BOOST_TEST(
      refusal_of({.max_bytes = absurd, .max_idle_bytes = absurd, .max_idle_blocks_per_bucket = absurd}) ==
      "accepted");
}

BOOST_AUTO_TEST_CASE(the_environment_switches_pass_through_on_and_never_off) {
  {
    const environment_variable set("CISTERN_PASS_THROUGH", "1");
    BOOST_TEST(effective_options({}).pass_through);
  }
  const environment_variable set("CISTERN_PASS_THROUGH", "0");
  BOOST_TEST(!effective_options({}).pass_through);
  BOOST_TEST(effective_options({.pass_through = true}).pass_through);
}

BOOST_AUTO_TEST_CASE(the_standard_s_options_are_never_refused) {
  for (const std::size_t value : {std::size_t{0}, std::size_t{1}, absurd, no_limit - 1, no_limit}) {
    const pool_options asked = from_standard({value, value});
    BOOST_TEST(refusal_of(asked) == "accepted");
    const pool_options options = effective_options(asked);
    BOOST_TEST(options.max_blocks_per_chunk >= 1U);
    BOOST_TEST(options.largest_required_pool_block >= std::min(value, largest_block_bytes));
  }
  BOOST_TEST(from_standard({3, 100}).max_blocks_per_chunk == 3U);
  BOOST_TEST(from_standard({3, 100}).largest_required_pool_block == 100U);
}

BOOST_AUTO_TEST_CASE(only_page_resources_give_pages) {
  const cistern::page_resource own;
  BOOST_TEST(gives_pages(&own));
  BOOST_TEST(gives_pages(cistern::pages()));
  BOOST_TEST(!gives_pages(nullptr));
  BOOST_TEST(!gives_pages(std::pmr::new_delete_resource()));
}

BOOST_AUTO_TEST_CASE(a_bucket_serves_what_its_options_say) {
  const pool_options options = effective_options({.largest_required_pool_block = 1000});
  BOOST_TEST(options.largest_required_pool_block == 1024U);
  BOOST_TEST(served_by_bucket(last_byte(1, 1), 1, options));
  BOOST_TEST(served_by_bucket(last_byte(1024, 1), 1, options));
  BOOST_TEST(!served_by_bucket(last_byte(1025, 1), 1, options));
  BOOST_TEST(served_by_bucket(last_byte(1, 1024), 1024, options));
  BOOST_TEST(!served_by_bucket(last_byte(1, 2048), 2048, options));
  BOOST_TEST(!served_by_bucket(last_byte(0, 1), 1, options));
  BOOST_TEST(!served_by_bucket(last_byte(SIZE_MAX, 1), 1, options));
  const pool_options large = effective_options({});
  BOOST_TEST(served_by_bucket(last_byte(1, page_bytes), page_bytes, large));
  BOOST_TEST(!served_by_bucket(last_byte(1, 2 * page_bytes), 2 * page_bytes, large));
  BOOST_TEST(!served_by_bucket(last_byte(1, 1), 1, effective_options({.pass_through = true})));
}

BOOST_AUTO_TEST_CASE(the_granted_size_is_that_of_the_contract) {
  for (const pool_options& asked :
       {pool_options{}, pool_options{.largest_required_pool_block = 1000},
        pool_options{.largest_required_pool_block = no_limit}, pool_options{.pass_through = true}}) {
    const pool_options options = effective_options(asked);
    for (std::size_t alignment = 1; alignment <= 4 * page_bytes; alignment *= 2) {
      for (std::size_t power = 1; power <= 2 * largest_block_bytes; power *= 2) {
        for (const std::size_t bytes : {power - 1, power, power + 1}) {
          const std::size_t granted = granted_block_bytes(bytes, alignment, options);
          if (granted != cistern::test_support::expected_grant(options, bytes, alignment)) {
            BOOST_ERROR(bytes << " bytes aligned to " << alignment << " are granted " << granted);
          }
        }
      }
    }
  }
}
