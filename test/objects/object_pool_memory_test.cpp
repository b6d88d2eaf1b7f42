// Where object pools get their memory, what happens when there is none, and what checked builds catch.
#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/object_pool.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/object_pool_support.hpp"
#include "../support/throwing_resource.hpp"

using namespace cistern;
using namespace cistern::test;
using cistern::test_support::dies_saying;
using caching_pool = object_pool<thing, thing_lifecycle, per_thread>;

namespace {

// What the sweep does to a pool: fills it, empties it, changes it.
template <class Pool>
void work_through(Pool& pool, tally& counts) {
  std::vector<lease<thing>> held;
  for (int i = 0; i < 40; ++i) {
    held.push_back(pool.acquire());
  }
  BOOST_TEST(counts.alive == 40);
  held.resize(10);
  held[0].discard();
  held.clear();
  pool.warm(30);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_allocation_may_fail_and_nothing_is_lost) {
  testing::checking_resource checking;
  testing::failing_resource failing(&checking);
  tally counts;
  const auto sweep = [&](auto operation) {
    testing::fail_every_allocation(failing, operation, [&](std::uint64_t) {
      BOOST_TEST(counts.alive == 0);
      BOOST_TEST(checking.outstanding_blocks() == 0U);
    });
  };
  sweep([&] {
    thing_pool pool({.max_size = 64, .initial = 5}, {&counts}, &failing);
    work_through(pool, counts);
  });
  sweep([&] {
    thing_pool pool({.max_size = 64, .initial = 5, .empty = when_empty::create, .order = reuse_order::fifo},
                    {&counts}, &failing);
    work_through(pool, counts);
  });
  BOOST_TEST(checking.errors() == 0U);
}

// A pool outlives a failed acquire: the same call works once there is memory again.
BOOST_AUTO_TEST_CASE(a_pool_survives_running_out_of_memory) {
  testing::checking_resource checking;
  testing::failing_resource failing(&checking);
  tally counts;
  thing_pool pool({.max_size = 64}, {&counts}, &failing);
  std::vector<lease<thing>> held;
  held.reserve(64);
  while (held.size() < 64) {
    const auto before = pool.statistics();
    failing.fail_nth(1);
    try {
      held.push_back(pool.acquire());
    } catch (const std::bad_alloc&) {
      BOOST_TEST((pool.statistics() == before));
      held.push_back(pool.acquire());  // there is memory again
    }
    failing.disarm();
    BOOST_TEST(pool.check_invariants());
  }
  BOOST_TEST(failing.failures() == 64U);  // each object has memory of its own
}

// The per-thread pool does without a cache when there is no memory for one.
BOOST_AUTO_TEST_CASE(a_per_thread_pool_survives_running_out_of_memory) {
  testing::checking_resource checking;
  testing::failing_resource failing(&checking);
  tally counts;
  testing::fail_every_allocation(
      failing,
      [&] {
        caching_pool pool({.initial = 5}, {&counts}, &failing);
        work_through(pool, counts);
        pool.trim();
        BOOST_TEST(pool.check_invariants());
      },
      [&](std::uint64_t) {
        BOOST_TEST(counts.alive == 0);
        BOOST_TEST(checking.outstanding_blocks() == 0U);
      });
  BOOST_TEST(checking.errors() == 0U);
}

BOOST_AUTO_TEST_CASE(the_last_lease_returns_the_memory) {
  testing::checking_resource checking;
  tally counts;
  auto shared_one = std::make_unique<thing_pool>(object_pool_options{}, thing_lifecycle{&counts}, &checking);
  auto own_one = std::make_unique<caching_pool>(object_pool_options{}, thing_lifecycle{&counts}, &checking);
  auto a = shared_one->acquire();
  auto b = own_one->acquire();
  shared_one.reset();
  own_one.reset();
  BOOST_TEST(checking.outstanding_blocks() > 0U);
  a.give_back();
  b.give_back();
  BOOST_TEST(checking.outstanding_blocks() == 0U);
  BOOST_TEST(checking.largest_alignment() >= alignof(thing));
}

namespace {

struct unfailing_lifecycle {
  int create() noexcept { return 7; }
};

}  // namespace

BOOST_AUTO_TEST_CASE(try_acquire_of_objects_that_cannot_fail_does_not_throw) {
  testing::failing_resource failing;
  object_pool<int, unfailing_lifecycle> pool({}, {}, &failing);
  static_assert(noexcept(pool.try_acquire()));
  failing.fail_nth(1);
  BOOST_TEST(!pool.try_acquire().has_value());
  BOOST_TEST(failing.failures() == 1U);
  BOOST_TEST(**pool.try_acquire() == 7);
  BOOST_TEST(pool.check_invariants());

  int refused = 0;
  for (int granted = 0; granted < 10; ++granted) {
    test_support::throwing_resource throwing(granted);
    try {
      object_pool<int, unfailing_lifecycle> other({}, {}, &throwing);
      refused += other.try_acquire().has_value() ? 0 : 1;
      BOOST_TEST(**other.try_acquire() == 7);
      BOOST_TEST(other.check_invariants());
    } catch (const test_support::unusual_error&) {  // of the constructor
    }
  }
  BOOST_TEST(refused > 0);
}

namespace {

struct alignas(32) page {
  std::array<char, 64 * 1024> bytes;
};
struct page_lifecycle {
  page create() { return {}; }
};
struct number_lifecycle {
  int create() { return 0; }
};

// After `few` objects, then `many` at once, then none: what the resource has out follows.
template <class T, class Lifecycle, class Policy>
void check_that_memory_comes_back(std::size_t few, std::size_t many) {
  const std::size_t slot_bytes =
      sizeof(detail::typed_slot<T>) + (detail::memory_checker_present() ? sizeof(T) : 0);
  constexpr std::size_t index_bytes =
      2 * sizeof(detail::slot_place);  // for each object that ever was, at most
  testing::checking_resource checking;
  object_pool<T, Lifecycle, Policy> pool({.max_size = no_limit}, {}, &checking);
  const auto trim = [&](std::size_t keep) {
    std::size_t trimmed = 0;
    for (int i = 0; i < 2; ++i) {  // what a thread keeps goes the second time
      trimmed += pool.trim(keep);
    }
    return trimmed;
  };
  (void)pool.acquire();
  const std::size_t least = checking.outstanding_bytes() - slot_bytes;  // and a thread's cache, perhaps
  {
    std::vector<lease<T>> peak;
    while (peak.size() < many) {
      peak.push_back(pool.acquire());
    }
    BOOST_TEST(checking.outstanding_bytes() <= least + many * (slot_bytes + index_bytes));
    while (peak.size() > few) {
      peak.pop_back();
    }
    BOOST_TEST(trim(0) == many - few);
    BOOST_TEST(checking.outstanding_bytes() <= least + few * slot_bytes + many * index_bytes);
    peak.back().discard();
    peak.pop_back();
    BOOST_TEST(checking.outstanding_bytes() <= least + (few - 1) * slot_bytes + many * index_bytes);
    BOOST_TEST(pool.check_invariants());
  }
  BOOST_TEST(trim(1) == few - 2);
  BOOST_TEST(checking.outstanding_bytes() <= least + slot_bytes + many * index_bytes);
  (void)trim(0);
  BOOST_TEST(checking.outstanding_bytes() <= least + many * index_bytes);
  BOOST_TEST(pool.statistics().total == 0U);
}

}  // namespace

BOOST_AUTO_TEST_CASE(memory_of_objects_comes_back_with_them) {
  static_assert(sizeof(detail::typed_slot<page>) <= sizeof(page) + 128, "no more than a header");
  check_that_memory_comes_back<page, page_lifecycle, shared>(5, 129);
  check_that_memory_comes_back<page, page_lifecycle, per_thread>(5, 129);
  check_that_memory_comes_back<int, number_lifecycle, shared>(100, 3000);
  check_that_memory_comes_back<int, number_lifecycle, per_thread>(100, 3000);
}

// However an object goes, and whoever looked at it: its memory goes back, and nobody reads it afterwards.
BOOST_AUTO_TEST_CASE(memory_comes_back_whatever_ends_an_object) {
  testing::checking_resource checking;
  tally counts;
  std::atomic<int> failing_creates{0};
  std::atomic<bool> failing_reset{false};
  const auto check = [&](auto& pool) {
    (void)pool.acquire();
    const auto one = checking.outstanding_blocks();
    const auto expect = [&](std::uint64_t objects) {
      BOOST_TEST(checking.outstanding_blocks() == one - 1 + objects);
      BOOST_TEST(pool.check_invariants());
    };
    pool.acquire()->broken = true;  // replaced when it is acquired
    (void)pool.acquire();
    expect(1);
    (void)pool.evict_if([](const thing&) { return true; });
    expect(0);
    failing_creates = 1;
    BOOST_CHECK_THROW((void)pool.acquire(), pool_error);
    expect(0);
    failing_reset = true;
    (void)pool.acquire();
    failing_reset = false;
    expect(0);
    (void)pool.acquire();
    pool.invalidate_all();
    expect(0);
    {
      auto held = pool.acquire();
      pool.close();
      expect(1);
    }
    expect(0);
  };
  thing_pool all({}, {&counts, &failing_creates, &failing_reset}, &checking);
  check(all);
  caching_pool own({}, {&counts, &failing_creates, &failing_reset}, &checking);
  check(own);
  BOOST_TEST(counts.alive == 0);
}

BOOST_AUTO_TEST_CASE(acquiring_again_allocates_nothing) {
  testing::checking_resource checking;
  tally counts;
  thing_pool pool({.max_size = 8, .initial = 8}, {&counts}, &checking);
  const auto before = checking.allocations();
  for (int i = 0; i < 1000; ++i) {
    auto one = pool.acquire();
    auto two = pool.acquire();
    (void)pool.try_acquire();
  }
  BOOST_TEST(checking.allocations() == before);
}

namespace {

template <class Pool>
void write_after_return(Pool& pool) {
  thing* kept = nullptr;
  {
    const auto one = pool.acquire();
    kept = one.get();
  }
  kept->value = 1;
  (void)pool.acquire();
}

}  // namespace

BOOST_AUTO_TEST_CASE(checked_builds_catch_misuse) {
  if constexpr (detail::checked_build) {
    BOOST_TEST(dies_saying("empty lease used", [] {
      lease<int> none;
      *none = 1;
    }));
    BOOST_TEST(dies_saying("empty lease used", [] {
      lease<std::pair<int, int>> none;
      none->first = 1;
    }));
    BOOST_TEST(dies_saying("empty lease", [] {
      lease<int> none;
      none.discard();
    }));
    if (detail::memory_checker_present()) {
      return;  // it reports the writes themselves: see object_guard_test
    }
    tally counts;
    BOOST_TEST(dies_saying("an idle object was written to", [&] {
      thing_pool pool({}, {&counts});
      write_after_return(pool);
    }));
    BOOST_TEST(dies_saying("an idle object was written to", [&] {
      caching_pool pool({}, {&counts});
      write_after_return(pool);
    }));
  }
}

namespace {

struct forgetful_lifecycle {
  int create() { return 0; }
  void reset(int&) {}
  bool clean(const int& n) const noexcept { return n == 0; }
};

}  // namespace

BOOST_AUTO_TEST_CASE(checked_builds_catch_a_reset_that_forgets) {
  if constexpr (detail::checked_build) {
    BOOST_TEST(dies_saying("not clean after reset", [] {
      object_pool<int, forgetful_lifecycle> pool;
      *pool.acquire() = 1;
    }));
  }
}
