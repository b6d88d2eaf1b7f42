// An upstream that calls trim() and statistics() of the pool above it while it is called. Plan: every kind of
// request, in both pools, also in pass-through mode; release and the end of a pool; several threads at once;
// a fork meanwhile. Also one in which the calling thread is cancelled.
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory_resource>
#include <typeinfo>
#include <utility>
#include <vector>

#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/cancelling_resource.hpp"
#include "../support/death.hpp"
#include "../support/mortal.hpp"
#include "../support/pool_checks.hpp"
#include "../support/threads.hpp"

using cistern::pool_options;
using cistern::synchronized_pool_resource;
using cistern::test_support::cancelling_resource;
using cistern::test_support::fault_in;
using cistern::test_support::run_threads;
using cistern::test_support::scaled;
using cistern::testing::checking_resource;

namespace {

using both_pools =
    boost::mpl::list<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = kib * kib;

/// Calls back before and after every call, but for those that it causes itself.
template <class Pool>
class calling_back_resource final : public std::pmr::memory_resource {
 public:
  explicit calling_back_resource(std::pmr::memory_resource* upstream) : upstream_(upstream) {}

  std::atomic<Pool*> above{nullptr};
  std::atomic<std::size_t> calls{0};

 private:
  void call_back() {
    Pool* const pool = above.load();
    if (pool == nullptr || inside) return;
    inside = true;
    ++calls;
    (void)pool->statistics();
    pool->trim();
    (void)pool->statistics();
    inside = false;
  }
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    call_back();
    void* block = upstream_->allocate(bytes, alignment);
    call_back();
    return block;
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    call_back();
    upstream_->deallocate(block, bytes, alignment);
    call_back();
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  static thread_local bool inside;
  std::pmr::memory_resource* upstream_;
};
template <class Pool>
thread_local bool calling_back_resource<Pool>::inside = false;

constexpr std::array<std::size_t, 9> sizes{16, 100, 1000, 5000, 20'000, 40'000, 200'000, 2 * mib, 40 * mib};

/// Rises and falls in every size, so that caches fill and overflow, and everything goes back now and then.
template <class Pool>
void use(Pool& pool) {
  for (const std::size_t blocks_of_each : {3U, 300U, 20U}) {
    std::vector<std::pair<void*, std::size_t>> live;
    for (const std::size_t bytes : sizes) {
      const std::size_t blocks = bytes > 100 * kib ? 3 : blocks_of_each;
      for (std::size_t i = 0; i < blocks; ++i) live.emplace_back(pool.allocate(bytes), bytes);
      for (std::size_t i = 0; i < blocks / 2; ++i) {
        pool.deallocate(live.back().first, live.back().second);
        live.pop_back();
      }
    }
    for (const auto& [block, bytes] : live) pool.deallocate(block, bytes);
  }
}

template <class Pool>
void use_with(const pool_options& options) {
  checking_resource checked;
  calling_back_resource<Pool> upstream(&checked);
  {
    Pool pool(options, &upstream);
    upstream.above = &pool;
    use(pool);
    BOOST_TEST(fault_in(pool, checked) == "");
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
    for (const std::size_t bytes : sizes) (void)pool.allocate(bytes);
    pool.release();
    BOOST_TEST(checked.outstanding_bytes() == 0U);
    use(pool);
    for (const std::size_t bytes : sizes) (void)pool.allocate(bytes);
    BOOST_TEST(fault_in(pool, checked) == "");
    pool.release();
    upstream.above = nullptr;  // a pool at its end can't be asked any more
  }
  BOOST_TEST(upstream.calls > 100U);
  BOOST_TEST(checked.outstanding_bytes() == 0U);
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(every_call_of_upstream_may_ask_and_trim_the_pool_above, Pool, both_pools) {
  use_with<Pool>({});
}
BOOST_AUTO_TEST_CASE_TEMPLATE(also_where_little_may_be_idle, Pool, both_pools) {
  use_with<Pool>({.max_idle_bytes = 64 * kib});
  use_with<Pool>({.max_idle_bytes = 0, .max_idle_blocks_per_bucket = 3});
}
BOOST_AUTO_TEST_CASE_TEMPLATE(also_where_chunks_are_small, Pool, both_pools) {
  use_with<Pool>({.max_blocks_per_chunk = 2, .max_idle_bytes = mib});
}
BOOST_AUTO_TEST_CASE_TEMPLATE(also_where_every_request_passes_through, Pool, both_pools) {
  use_with<Pool>({.pass_through = true});
}

BOOST_AUTO_TEST_CASE(threads_do_so_at_once_without_waiting_for_each_other_for_ever) {
  checking_resource checked;
  calling_back_resource<synchronized_pool_resource> upstream(&checked);
  {
    synchronized_pool_resource pool({.max_idle_bytes = 256 * kib}, &upstream);
    upstream.above = &pool;
    constexpr std::size_t threads = 4;
    run_threads(threads, [&](std::size_t) {
      for (std::size_t round = 0; round < scaled(20); ++round) use(pool);
    });
    BOOST_TEST(fault_in(pool, checked, threads * checked.largest_request_bytes()) == "");
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
    upstream.above = nullptr;
  }
  BOOST_TEST(checked.outstanding_bytes() == 0U);
}

// Of two locks that one thread takes in one order and fork in the other, one is waited for for ever.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_thread_that_is_cancelled_there_leaves_the_pool_whole, Pool, both_pools) {
  for (std::size_t call = 1; call <= 12; ++call) {
    BOOST_TEST_CONTEXT("in call " << call) {
      checking_resource below;
      cancelling_resource upstream(&below, call);
      Pool pool({}, &upstream);
      const auto use = [&pool] {
        std::array<void*, 100> blocks{};
        for (void*& block : blocks) block = pool.allocate(24, 8);
        void* const large = pool.allocate(3 * mib, 8);
        for (void* block : blocks) pool.deallocate(block, 24, 8);
        pool.deallocate(large, 3 * mib, 8);
        pool.trim();
      };
      (void)cistern::test_support::is_cancelled_in(use);
      upstream.disarm();
      pool.check_invariants();
      pool.release();
      BOOST_TEST(below.outstanding_bytes() == 0U);
    }
  }
}

// Which is why give_back leaves it to them.
BOOST_AUTO_TEST_CASE_TEMPLATE(pools_hold_cancellation_off_themselves, Pool, both_pools) {
  for (const bool pass_through : {false, true}) {
    const auto calls = cistern::test_support::cancel_in_every_call([&](std::pmr::memory_resource* upstream) {
      Pool pool({.pass_through = pass_through}, upstream);
      void* const block = pool.allocate(3 * mib, 8);
      cistern::detail::give_back(pool, block, 3 * mib, 8);
    });
    BOOST_TEST(calls >= 2U);
  }
}

BOOST_AUTO_TEST_CASE(the_types_of_pools_are_known_below_them) {
  BOOST_TEST(cistern::detail::synchronized_pool_type == &typeid(synchronized_pool_resource));
  BOOST_TEST(cistern::detail::unsynchronized_pool_type == &typeid(cistern::unsynchronized_pool_resource));
}

namespace {

template <class Pool>
struct cancelling_pool final : Pool {
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    cistern::test_support::cancel_this_thread();
    Pool::do_deallocate(block, bytes, alignment);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(what_is_no_pool_or_derived_from_one_is_not_taken_for_one, Pool, both_pools) {
  const auto calls = cistern::test_support::cancel_in_every_call([](std::pmr::memory_resource* resource) {
    cistern::detail::give_back(*resource, resource->allocate(100), 100, alignof(std::max_align_t));
  });
  BOOST_TEST(calls == 2U);
  cancelling_pool<Pool> pool;
  bool is_back = false;
  BOOST_TEST(cistern::test_support::is_cancelled_in([&] {
    std::pmr::memory_resource& resource = pool;
    cistern::detail::give_back(resource, resource.allocate(100), 100, alignof(std::max_align_t));
    is_back = true;
  }));
  BOOST_TEST(is_back);
}

BOOST_AUTO_TEST_CASE(a_fork_meanwhile_finds_its_way) {
  if (cistern::test_support::sanitized) return;  // they can't be told of such children
  calling_back_resource<synchronized_pool_resource> upstream(std::pmr::new_delete_resource());
  synchronized_pool_resource pool({.max_idle_bytes = 256 * kib}, &upstream);
  upstream.above = &pool;
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> laps{0};
  run_threads(3, [&](std::size_t index) {
    if (index != 0) {
      while (!stop) {
        use(pool);
        ++laps;
      }
      return;
    }
    for (int i = 0; i < 10; ++i) {
      for (const std::size_t seen = laps; laps == seen;) std::this_thread::yield();
      const auto child = cistern::test_support::run_and_die([&] { use(pool); });
      cistern::test_support::require(child.description == "exited with 0", child.description.c_str());
    }
    stop = true;
  });
  upstream.above = nullptr;
}
