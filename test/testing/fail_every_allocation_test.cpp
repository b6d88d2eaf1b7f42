// fail_every_allocation visits each allocation once, and refuses sweeps that prove nothing.
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>

#include <cstdint>
#include <memory_resource>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::testing::checking_resource;
using cistern::testing::fail_every_allocation;
using cistern::testing::failing_resource;
using cistern::testing::failure_mode;
using cistern::testing::sweep_error;

namespace {

struct sweep_fixture {
  checking_resource checked;
  failing_resource resource{&checked};

  void allocate_and_free() { resource.deallocate(resource.allocate(8, 8), 8, 8); }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(each_allocation_fails_once_in_order, sweep_fixture) {
  std::vector<std::uint64_t> failed;
  const auto result = fail_every_allocation(
      resource,
      [this] {
        for (int i = 0; i < 3; ++i) allocate_and_free();
      },
      [&](std::uint64_t nth) { failed.push_back(nth); });
  BOOST_TEST(failed == (std::vector<std::uint64_t>{1, 2, 3}), boost::test_tools::per_element());
  BOOST_TEST(result.runs == 4u);
  BOOST_TEST(result.failed_runs == 3u);
  BOOST_TEST(result.absorbed_runs == 0u);
  BOOST_TEST(!resource.armed());
}

BOOST_FIXTURE_TEST_CASE(containers_keep_their_strong_guarantee, sweep_fixture) {
  std::pmr::vector<std::pmr::string> strings(&resource);
  const std::string text(100, 'x');
  strings.emplace_back(text);
  const auto result = fail_every_allocation(
      resource, [&] { strings.emplace_back(text); },
      [&](std::uint64_t) { BOOST_TEST(strings.size() == 1u); });
  BOOST_TEST(result.failed_runs >= 2u);  // The vector's growth and the string's text.
  BOOST_TEST(strings.size() == 2u);
}

BOOST_FIXTURE_TEST_CASE(a_leak_in_a_failed_run_shows_in_the_check, sweep_fixture) {
  std::vector<void*> lost;
  bool seen = false;
  fail_every_allocation(
      resource,
      [&] {
        void* const first = resource.allocate(8, 8);
        lost.push_back(first);  // Leaks when the next line throws.
        void* const second = resource.allocate(8, 8);
        lost.pop_back();
        resource.deallocate(first, 8, 8);
        resource.deallocate(second, 8, 8);
      },
      [&](std::uint64_t nth) {
        if (nth == 2) seen = checked.outstanding_blocks() == 1;
      });
  BOOST_TEST(seen);
  for (void* ptr : lost) resource.deallocate(ptr, 8, 8);
}

BOOST_FIXTURE_TEST_CASE(an_operation_without_allocations_is_refused, sweep_fixture) {
  BOOST_CHECK_THROW(fail_every_allocation(resource, [] {}), sweep_error);
}

BOOST_FIXTURE_TEST_CASE(an_operation_that_never_completes_is_stopped, sweep_fixture) {
  std::uint64_t allocations = 1;
  const auto operation = [&] {
    ++allocations;
    for (std::uint64_t i = 0; i < allocations; ++i) allocate_and_free();
  };
  BOOST_CHECK_THROW(fail_every_allocation(resource, operation, {.max_runs = 50}), sweep_error);
  BOOST_TEST(allocations == 51u);
  BOOST_TEST(!resource.armed());
}

BOOST_FIXTURE_TEST_CASE(a_failure_that_nobody_injected_is_refused, sweep_fixture) {
  BOOST_CHECK_THROW(fail_every_allocation(resource, [] { throw std::bad_alloc(); }), sweep_error);
  const auto late = [this] {
    allocate_and_free();
    throw std::bad_alloc();
  };
  BOOST_CHECK_THROW(fail_every_allocation(resource, late), sweep_error);
}

BOOST_FIXTURE_TEST_CASE(other_exceptions_pass_through_and_disarm, sweep_fixture) {
  const auto translate = [this] {
    try {
      allocate_and_free();
    } catch (const std::bad_alloc&) {
      throw std::runtime_error("translated");
    }
  };
  BOOST_CHECK_THROW(fail_every_allocation(resource, translate), std::runtime_error);
  BOOST_TEST(!resource.armed());
  const auto failing_check = [](std::uint64_t) { throw std::domain_error("check"); };
  BOOST_CHECK_THROW(fail_every_allocation(
                        resource, [this] { allocate_and_free(); }, failing_check),
                    std::domain_error);
  BOOST_TEST(!resource.armed());
}

BOOST_FIXTURE_TEST_CASE(a_retry_absorbs_one_failure_but_not_lasting_ones, sweep_fixture) {
  const auto retrying = [this] {
    try {
      allocate_and_free();
    } catch (const std::bad_alloc&) {
      allocate_and_free();
    }
  };
  const auto once = fail_every_allocation(resource, retrying);
  BOOST_TEST(once.absorbed_runs == 1u);
  BOOST_TEST(once.failed_runs == 0u);
  const auto lasting = fail_every_allocation(resource, retrying, {.mode = failure_mode::from_then_on});
  BOOST_TEST(lasting.absorbed_runs == 0u);
  BOOST_TEST(lasting.failed_runs == 1u);
  BOOST_TEST(lasting.runs == 2u);
}
