// statistics_adaptor: counts against a model, and scopes in any order.
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/conformance.hpp"
#include "../support/death.hpp"
#include "../support/threads.hpp"

using cistern::allocation_statistics;
using cistern::statistics_adaptor;
using cistern::statistics_scope;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;

namespace {

struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = true;
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<statistics_adaptor>(upstream);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(conforms) {
  cistern::test_support::require_conformance<subject>();
}

BOOST_AUTO_TEST_CASE(a_new_adaptor_has_counted_nothing) {
  statistics_adaptor counted;
  BOOST_TEST(counted.upstream_resource() == std::pmr::new_delete_resource());
  BOOST_TEST((counted.statistics() == allocation_statistics{}));
}

BOOST_AUTO_TEST_CASE(counts_calls_bytes_live_peak_and_failures) {
  failing_resource upstream;
  statistics_adaptor counted(&upstream);
  void* const a = counted.allocate(100);
  void* const b = counted.allocate(28, 64);
  counted.deallocate(a, 100);
  void* const c = counted.allocate(0);
  upstream.fail_nth(1);
  BOOST_CHECK_THROW((void)counted.allocate(500), std::bad_alloc);

  const allocation_statistics s = counted.statistics();
  BOOST_TEST(s.allocations == 3u);
  BOOST_TEST(s.deallocations == 1u);
  BOOST_TEST(s.failures == 1u);
  BOOST_TEST(s.allocated_bytes == 128u);
  BOOST_TEST(s.deallocated_bytes == 100u);
  BOOST_TEST(s.live_blocks == 2);
  BOOST_TEST(s.live_bytes == 28);
  BOOST_TEST(s.peak_blocks == 2);
  BOOST_TEST(s.peak_bytes == 128);
  BOOST_TEST(s.allocations_by_size[0] == 1u);
  BOOST_TEST(s.allocations_by_size[6] == 1u);  // Up to 32.
  BOOST_TEST(s.allocations_by_size[8] == 1u);  // Up to 128.
  counted.deallocate(b, 28, 64);
  counted.deallocate(c, 0);
}

BOOST_AUTO_TEST_CASE(reset_peak_starts_at_what_is_live) {
  statistics_adaptor counted;
  void* const a = counted.allocate(10);
  counted.deallocate(counted.allocate(90), 90);
  BOOST_TEST(counted.statistics().peak_bytes == 100);
  counted.reset_peak();
  BOOST_TEST(counted.statistics().peak_bytes == 10);
  BOOST_TEST(counted.statistics().peak_blocks == 1);
  counted.deallocate(a, 10);
}

BOOST_AUTO_TEST_CASE(every_size_is_in_the_first_class_that_holds_it) {
  using cistern::request_size_class;
  using cistern::request_size_class_limit_bytes;
  for (std::size_t i = 0; i + 1 < cistern::request_size_classes; ++i) {
    const std::size_t limit_bytes = request_size_class_limit_bytes(i);
    BOOST_TEST(request_size_class(limit_bytes) == i);
    BOOST_TEST(request_size_class(limit_bytes + 1) == i + 1);
  }
  BOOST_TEST(request_size_class(SIZE_MAX) == cistern::request_size_classes - 1);
  BOOST_TEST(request_size_class_limit_bytes(cistern::request_size_classes - 1) == SIZE_MAX);
}

// --- Scopes ---

BOOST_AUTO_TEST_CASE(a_scope_counts_from_its_beginning) {
  statistics_adaptor counted;
  void* const before = counted.allocate(1000);
  {
    const statistics_scope scope(counted);
    BOOST_TEST((scope.statistics() == allocation_statistics{}));
    void* const inside = counted.allocate(50);
    counted.deallocate(inside, 50);
    void* const stays = counted.allocate(20);
    const allocation_statistics s = scope.statistics();
    BOOST_TEST(s.allocations == 2u);
    BOOST_TEST(s.deallocations == 1u);
    BOOST_TEST(s.live_bytes == 20);
    BOOST_TEST(s.peak_bytes == 50);
    BOOST_TEST(s.peak_blocks == 1);
    BOOST_TEST(s.allocations_by_size[cistern::request_size_class(1000)] == 0u);
    counted.deallocate(stays, 20);
  }
  BOOST_TEST(counted.statistics().peak_bytes == 1050);
  counted.deallocate(before, 1000);
}

BOOST_AUTO_TEST_CASE(a_scope_that_frees_older_blocks_goes_below_nothing) {
  statistics_adaptor counted;
  void* const before = counted.allocate(100);
  const statistics_scope scope(counted);
  counted.deallocate(before, 100);
  counted.deallocate(counted.allocate(30), 30);
  const allocation_statistics s = scope.statistics();
  BOOST_TEST(s.live_blocks == -1);
  BOOST_TEST(s.live_bytes == -100);
  BOOST_TEST(s.peak_bytes == 0);  // It never held more than at its beginning.
  BOOST_TEST(s.peak_blocks == 0);
}

BOOST_AUTO_TEST_CASE(an_outer_scope_knows_the_peak_of_one_that_ended_inside) {
  statistics_adaptor counted;
  const statistics_scope outer(counted);
  void* const a = counted.allocate(10);
  {
    const statistics_scope inner(counted);
    counted.deallocate(counted.allocate(500), 500);
    BOOST_TEST(inner.statistics().peak_bytes == 500);
    BOOST_TEST(outer.statistics().peak_bytes == 510);
  }
  BOOST_TEST(outer.statistics().peak_bytes == 510);
  counted.deallocate(counted.allocate(20), 20);
  BOOST_TEST(outer.statistics().peak_bytes == 510);
  counted.deallocate(a, 10);
}

BOOST_AUTO_TEST_CASE(resetting_the_peak_leaves_scopes_theirs) {
  statistics_adaptor counted;
  const statistics_scope scope(counted);
  counted.deallocate(counted.allocate(100), 100);
  counted.reset_peak();
  BOOST_TEST(counted.statistics().peak_bytes == 0);
  BOOST_TEST(scope.statistics().peak_bytes == 100);
}

namespace {

// What a scope should say, kept the slow way.
struct model_scope {
  allocation_statistics seen;

  void allocate(std::size_t bytes) {
    ++seen.allocations;
    seen.allocated_bytes += bytes;
    ++seen.live_blocks;
    seen.live_bytes += static_cast<std::int64_t>(bytes);
    seen.peak_blocks = std::max(seen.peak_blocks, seen.live_blocks);
    seen.peak_bytes = std::max(seen.peak_bytes, seen.live_bytes);
    ++seen.allocations_by_size[cistern::request_size_class(bytes)];
  }
  void deallocate(std::size_t bytes) {
    ++seen.deallocations;
    seen.deallocated_bytes += bytes;
    --seen.live_blocks;
    seen.live_bytes -= static_cast<std::int64_t>(bytes);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(scopes_that_begin_and_end_in_any_order_agree_with_a_model) {
  checking_resource upstream;
  statistics_adaptor counted(&upstream);
  std::mt19937_64 random(3);
  std::vector<std::pair<std::unique_ptr<statistics_scope>, model_scope>> scopes;
  model_scope all;
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (int i = 0; i < 20'000; ++i) {
    const auto what = random() % 100;
    if (what < 2 && scopes.size() < 8) {
      scopes.emplace_back(std::make_unique<statistics_scope>(counted), model_scope{});
    } else if (what < 4 && !scopes.empty()) {
      scopes.erase(scopes.begin() + static_cast<std::ptrdiff_t>(random() % scopes.size()));
    } else if (what < 52 || blocks.empty()) {
      const std::size_t bytes = random() % 1000;
      blocks.emplace_back(counted.allocate(bytes), bytes);
      all.allocate(bytes);
      for (auto& scope : scopes) scope.second.allocate(bytes);
    } else {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      const auto [block, bytes] = blocks.back();
      blocks.pop_back();
      counted.deallocate(block, bytes);
      all.deallocate(bytes);
      for (auto& scope : scopes) scope.second.deallocate(bytes);
    }
    BOOST_REQUIRE((counted.statistics() == all.seen));
    for (const auto& [scope, model] : scopes) BOOST_REQUIRE((scope->statistics() == model.seen));
  }
  for (const auto& [block, bytes] : blocks) counted.deallocate(block, bytes);
}

BOOST_AUTO_TEST_CASE(threads_are_counted_to_the_last_call) {
  checking_resource upstream;
  statistics_adaptor counted(&upstream);
  constexpr std::size_t threads = 4;
  constexpr std::size_t rounds = 3'000;
  {
    const statistics_scope whole(counted);
    cistern::test_support::run_threads(threads, [&](std::size_t index) {
      for (std::size_t i = 0; i < rounds; ++i) {
        const statistics_scope scope(counted);
        void* const block = counted.allocate(index * 10 + 1);
        cistern::test_support::require(scope.statistics().allocations >= 1, "the scope missed a call");
        counted.deallocate(block, index * 10 + 1);
      }
    });
    const allocation_statistics s = counted.statistics();
    BOOST_TEST((whole.statistics() == s));
    BOOST_TEST(s.allocations == threads * rounds);
    BOOST_TEST(s.deallocations == threads * rounds);
    BOOST_TEST(s.allocated_bytes == rounds * (1 + 11 + 21 + 31));
    BOOST_TEST(s.live_bytes == 0);
    BOOST_TEST(s.peak_blocks >= 1);
    BOOST_TEST(s.peak_blocks <= 4);
    BOOST_TEST(s.peak_bytes <= 64);
  }
  BOOST_TEST(upstream.peak_bytes() >= static_cast<std::size_t>(counted.statistics().peak_bytes));
}

BOOST_AUTO_TEST_CASE(scopes_must_end_before_the_adaptor) {
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(cistern::test_support::dies_saying("destroyed before its scopes", [] {
      std::optional<statistics_adaptor> counted(std::in_place);
      const statistics_scope scope(*counted);
      counted.reset();
    }));
  }
}
