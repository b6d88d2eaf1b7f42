// The gate to upstream: what passes is handed on and counted exactly, never beyond the limit, also by several
// threads at once, and a failure leaves no trace.
//
// Plan: 1. requests as upstream sees them, and the four figures; 2. the limit, to the byte; 3. failures, with
// std::bad_alloc and otherwise; 4. a chunk_source in upstream's place; 5. threads at the limit; 6. upstreams
// that have no use for what comes back.
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <new>
#include <string>

#include <boost/test/unit_test.hpp>

#include "../support/pool_parts.hpp"
#include "../support/threads.hpp"
#include "../support/throwing_resource.hpp"

using cistern::bad_allocation;
using cistern::no_limit;
using cistern::detail::upstream_account;
using cistern::testing::checking_resource;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

cistern::pool_statistics figures(const upstream_account& account) {
  cistern::pool_statistics statistics;
  account.add_to(statistics);
  return statistics;
}

}  // namespace

BOOST_AUTO_TEST_CASE(upstream_sees_each_request_as_it_is) {
  checking_resource upstream;
  upstream_account account(&upstream, no_limit);
  BOOST_TEST(account.upstream() == &upstream);
  BOOST_TEST((account.source() == nullptr));
  void* const first = account.try_allocate(100, 64);
  BOOST_TEST(upstream.outstanding_bytes() == 100U);
  BOOST_TEST(upstream.largest_alignment() == 64U);
  void* const second = account.try_allocate(0, 1);
  BOOST_TEST(upstream.outstanding_blocks() == 2U);
  account.deallocate(first, 100, 64);  // upstream aborts on another size or alignment
  account.deallocate(second, 0, 1);
  BOOST_TEST(upstream.outstanding_blocks() == 0U);
}

BOOST_AUTO_TEST_CASE(the_figures_are_exact) {
  checking_resource upstream;
  upstream_account account(&upstream, no_limit);
  void* const first = account.try_allocate(100, 8);
  void* const second = account.try_allocate(50, 8);
  account.deallocate(first, 100, 8);
  void* const third = account.try_allocate(60, 8);
  const auto s = figures(account);
  BOOST_TEST(s.upstream_bytes == 110U);
  BOOST_TEST(s.peak_upstream_bytes == 150U);
  BOOST_TEST(s.upstream_allocations == 3U);
  BOOST_TEST(s.upstream_deallocations == 1U);
  BOOST_TEST(account.bytes() == 110U);
  BOOST_TEST(account.peak_bytes() == 150U);
  account.deallocate(second, 50, 8);
  account.deallocate(third, 60, 8);
  BOOST_TEST(account.bytes() == 0U);
  BOOST_TEST(account.peak_bytes() == 150U);
}

BOOST_AUTO_TEST_CASE(memory_may_leave_as_what_it_was_counted_as) {
  checking_resource upstream;
  upstream_account account(&upstream, no_limit);
  void* const memory = account.try_allocate(100, 8);
  account.deallocate_as(memory, 100, 8, 30);
  BOOST_TEST(account.bytes() == 70U);
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(the_limit_holds_to_the_byte) {
  checking_resource upstream;
  upstream_account account(&upstream, 1000);
  BOOST_TEST(account.max_bytes() == 1000U);
  BOOST_TEST(account.try_allocate(1001, 1) == nullptr);
  void* const most = account.try_allocate(999, 1);
  BOOST_TEST(account.available_bytes() == 1U);
  for (const std::size_t too_much : {std::size_t{2}, SIZE_MAX - 998, SIZE_MAX}) {
    BOOST_TEST(account.try_allocate(too_much, 1) == nullptr);
  }
  void* const last = account.try_allocate(1, 1);
  BOOST_TEST(last != nullptr);
  BOOST_TEST(account.available_bytes() == 0U);
  BOOST_TEST(upstream.allocations() == 2U);  // upstream was never asked for the others
  BOOST_TEST(upstream.failed_allocations() == 0U);
  BOOST_TEST(figures(account).upstream_allocations == 2U);
  account.deallocate(most, 999, 1);
  account.deallocate(last, 1, 1);
  BOOST_TEST(account.available_bytes() == 1000U);
}

BOOST_AUTO_TEST_CASE(without_a_limit_everything_is_asked_for) {
  checking_resource upstream;  // refuses what no machine has
  upstream_account account(&upstream, no_limit);
  BOOST_CHECK_THROW((void)account.try_allocate(SIZE_MAX, 1), std::bad_alloc);
  BOOST_TEST(account.bytes() == 0U);
  BOOST_TEST(account.available_bytes() == SIZE_MAX);
}

BOOST_AUTO_TEST_CASE(a_failure_leaves_no_trace) {
  checking_resource checked;
  cistern::testing::failing_resource upstream(&checked);
  upstream_account account(&upstream, 1000);
  void* const memory = account.try_allocate(100, 8);
  const auto before = figures(account);
  upstream.fail_nth(1);
  BOOST_CHECK_THROW((void)account.try_allocate(500, 8), std::bad_alloc);
  BOOST_TEST((figures(account) == before));
  BOOST_TEST(account.available_bytes() == 900U);
  account.deallocate(memory, 100, 8);

  throwing_resource unusual(0, &checked);
  upstream_account other(&unusual, 1000);
  BOOST_CHECK_THROW((void)other.try_allocate(1000, 8), unusual_error);
  BOOST_TEST((figures(other) == cistern::pool_statistics{}));
  void* const all = other.try_allocate(1000, 8);
  BOOST_TEST(all != nullptr);
  other.deallocate(all, 1000, 8);
}

BOOST_AUTO_TEST_CASE(it_says_why_there_is_no_memory) {
  checking_resource upstream;
  upstream_account account(&upstream, 1000);
  void* const memory = account.try_allocate(900, 8);
  BOOST_CHECK_EXCEPTION(account.refuse(200, 256), bad_allocation, [](const bad_allocation& error) {
    BOOST_TEST(
        error.what() ==
        std::string("cistern: max_bytes reached: 200 bytes requested, which take 256, limit 1000, held 900"));
    return error.requested_bytes() == 200;
  });
  account.deallocate(memory, 900, 8);
}

BOOST_AUTO_TEST_CASE(a_source_takes_upstream_s_place_and_refuses_by_null) {
  page_source source;
  upstream_account account(source);
  BOOST_TEST((account.source() == &source));
  BOOST_TEST(account.max_bytes() == no_limit);
  void* const memory = account.try_allocate(8192, 8);
  BOOST_TEST(memory != nullptr);
  BOOST_TEST(source.outstanding_bytes == 8192U);
  const auto before = figures(account);
  BOOST_TEST(before.upstream_bytes == 8192U);
  source.refuse = true;
  BOOST_TEST(account.try_allocate(8192, 8) == nullptr);
  BOOST_TEST((figures(account) == before));
  account.deallocate(memory, 8192, 8);
  BOOST_TEST(source.outstanding_bytes == 0U);
  BOOST_TEST(account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(threads_at_the_limit_do_not_make_each_other_fail) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t share_bytes = 1000;
  checking_resource upstream;
  upstream_account account(&upstream, threads * share_bytes);
  run_threads(threads, [&](std::size_t) {
    for (std::size_t i = 0; i < 2'000; ++i) {
      void* const memory = account.try_allocate(share_bytes, 8);
      require(memory != nullptr, "refused although there was room");
      account.deallocate(memory, share_bytes, 8);
    }
  });
  BOOST_TEST(account.bytes() == 0U);
  BOOST_TEST(account.peak_bytes() <= threads * share_bytes);
  BOOST_TEST(account.peak_bytes() >= share_bytes);
  BOOST_TEST(figures(account).upstream_allocations == threads * 2'000U);
  BOOST_TEST(figures(account).upstream_deallocations == threads * 2'000U);
}

BOOST_AUTO_TEST_CASE(threads_never_hold_more_than_the_limit) {
  constexpr std::size_t limit_bytes = 1'000;
  checking_resource upstream;
  upstream_account account(&upstream, limit_bytes);
  std::atomic<std::uint64_t> refusals{0};
  run_threads(4, [&](std::size_t index) {
    for (std::size_t i = 0; i < 2'000; ++i) {
      const std::size_t bytes = 300 + (i * 37 + index * 101) % 400;
      void* const memory = account.try_allocate(bytes, 8);
      if (memory == nullptr) {
        refusals.fetch_add(1, std::memory_order_relaxed);
      } else {
        require(account.bytes() <= limit_bytes, "more is held than may be");
        account.deallocate(memory, bytes, 8);
      }
    }
  });
  BOOST_TEST(upstream.peak_bytes() <= limit_bytes);
  BOOST_TEST(account.peak_bytes() <= limit_bytes);
  BOOST_TEST(account.bytes() == 0U);
  BOOST_TEST(figures(account).upstream_allocations == 8'000U - refusals.load());
}

BOOST_AUTO_TEST_CASE(a_monotonic_upstream_takes_nothing_back_but_for_the_limit) {
  std::pmr::monotonic_buffer_resource monotonic;
  BOOST_TEST(!upstream_account(&monotonic, no_limit).takes_back());
  BOOST_TEST(!upstream_account(&monotonic, no_limit).reuses(100));
  BOOST_TEST(upstream_account(&monotonic, 1'000).takes_back());
  BOOST_TEST(upstream_account(&monotonic, 1'000).reuses(100));
  // What is derived from it may reuse what it gets.
  struct reusing final : std::pmr::monotonic_buffer_resource {
  } derived;
  BOOST_TEST(upstream_account(&derived, no_limit).takes_back());
}

BOOST_AUTO_TEST_CASE(whether_upstream_reuses_memory_is_tried) {
  checking_resource upstream;
  upstream_account account(&upstream, no_limit);
  BOOST_TEST(account.reuses(4096));
  BOOST_TEST(upstream.allocations() == 1U);
  BOOST_TEST(upstream.outstanding_bytes() == 0U);
  BOOST_TEST(account.bytes() == 0U);
  throwing_resource refusing;
  for (std::pmr::memory_resource* const other :
       {static_cast<std::pmr::memory_resource*>(&refusing), std::pmr::null_memory_resource()}) {
    BOOST_TEST(!upstream_account(other, no_limit).reuses(4096));
  }
  upstream_account over_new(std::pmr::new_delete_resource(), no_limit);
  BOOST_TEST(over_new.reuses(4096));  // that is known
  BOOST_TEST(figures(over_new).upstream_allocations == 0U);
}
