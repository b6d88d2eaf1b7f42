// Pools over pages of the system, which refuses to give some, to take them back or to empty them: no content
// changes, no account is wrong, and nothing is lost.
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <memory_resource>
#include <new>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/refused_calls.hpp"

using cistern::page_resource;
using cistern::pages;
using cistern::pool_statistics;
using cistern::detail::os_page_bytes;
using cistern::test_support::below;
using cistern::test_support::fault_in;
using cistern::test_support::fill;
using cistern::test_support::filled;
using cistern::test_support::madvise_call;
using cistern::test_support::mmap_call;
using cistern::test_support::munmap_call;
using cistern::test_support::scaled;
using cistern::test_support::user_block;
using cistern::test_support::while_refused;
using cistern::testing::checking_resource;

namespace {

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

/// Blocks of all sizes that come and go at random. A block whose content has changed is counted.
template <class Pool>
class random_life {
 public:
  explicit random_life(Pool& pool) : pool_(pool) {}
  random_life(const random_life&) = delete;
  random_life& operator=(const random_life&) = delete;
  ~random_life() { free_all(); }

  void go_on(std::size_t steps) {
    for (std::size_t step = 0; step < steps; ++step) {
      user_block& one = live_[below(random_, live_.size())];
      free(one);
      allocate(one, std::size_t{1} << below(random_, below(random_, 20) == 0 ? 21 : 14));
    }
  }
  void free_all() {
    for (user_block& each : live_) free(each);
  }
  std::size_t refused = 0;
  std::size_t changed = 0;

 private:
  void allocate(user_block& one, std::size_t most_bytes) {
    const std::size_t bytes = 1 + below(random_, most_bytes);
    try {
      one = {pool_.allocate(bytes), bytes, alignof(std::max_align_t), static_cast<unsigned char>(random_())};
      fill(one, bytes);
    } catch (const std::bad_alloc&) {
      ++refused;
    }
  }
  void free(user_block& one) {
    if (one.ptr == nullptr) return;
    changed += filled(one, one.bytes) ? 0 : 1;
    pool_.deallocate(std::exchange(one.ptr, nullptr), one.bytes);
  }

  Pool& pool_;
  std::mt19937_64 random_{4711};
  std::vector<user_block> live_ = std::vector<user_block>(300);
};

/// Pages of the system; notes which they were.
class noting_pages : public std::pmr::memory_resource {
 public:
  noting_pages() { given_.reserve(100'000); }  // now, and not while the system refuses
  /// Whether none of all pages that it gave belongs to this process any more.
  [[nodiscard]] bool all_went_back() const {
    const std::size_t page = os_page_bytes();
    return std::all_of(given_.begin(), given_.end(), [page](const auto& range) {
      unsigned char residence = 0;
      for (std::size_t at = 0; at < range.second; at += page) {
        if (::mincore(range.first + at, page, &residence) == 0) return false;
      }
      return true;
    });
  }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* const block = pages()->allocate(bytes, alignment);
    given_.emplace_back(static_cast<std::byte*>(block), bytes);
    return block;
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    pages()->deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::vector<std::pair<std::byte*, std::size_t>> given_;
};

}  // namespace

// What can't be emptied stays as it is, and isn't counted as given back. Later it may be.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_refused_madvise_changes_nothing, Pool, pools) {
  const std::size_t held_before = page_resource::held_bytes();
  {
    Pool pool(pages());
    random_life<Pool> life(pool);
    const long refused_before = madvise_call.refused();
    {
      const while_refused no_madvise(madvise_call);
      for (int round = 0; round < 5; ++round) {
        life.go_on(scaled(5'000));
        pool.trim();
        pool.check_invariants();
      }
    }
    BOOST_TEST(madvise_call.refused() > refused_before);
    BOOST_TEST(pool.statistics().discarded_bytes == 0U);
    pool.trim();
    const pool_statistics s = pool.statistics();
    BOOST_TEST(s.discarded_bytes > 0U);
    BOOST_TEST(s.in_use_bytes + s.idle_bytes + s.overhead_bytes == s.upstream_bytes);
    BOOST_TEST(s.upstream_bytes <= page_resource::held_bytes() - held_before);
    life.go_on(scaled(5'000));
    life.free_all();
    BOOST_TEST(life.changed == 0U);
    BOOST_TEST(life.refused == 0U);
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
  }
  BOOST_TEST(page_resource::held_bytes() == held_before);
}

// What the system doesn't take back serves the next who asks, and goes back once it may.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_refused_munmap_loses_nothing, Pool, pools) {
  noting_pages upstream;
  const std::size_t held_before = page_resource::held_bytes();
  const long refused_before = munmap_call.refused();
  long mapped[2] = {0, 0};
  for (long& mappings : mapped) {
    checking_resource checked(&upstream);
    const long calls_before = mmap_call.calls();
    std::string fault;
    {
      const while_refused no_munmap(munmap_call);
      Pool pool(&checked);
      random_life<Pool> life(pool);
      for (int round = 0; round < 5 && fault.empty(); ++round) {
        life.go_on(scaled(5'000));
        pool.trim();
        fault = fault_in(pool, checked);
      }
      life.free_all();
      fault += life.changed + life.refused == 0 ? "" : "a block has changed, or was refused; ";
    }
    mappings = mmap_call.calls() - calls_before;
    BOOST_TEST(fault == "");
    BOOST_TEST(checked.outstanding_bytes() == 0U);
    BOOST_TEST(page_resource::held_bytes() == held_before);
  }
  BOOST_TEST(munmap_call.refused() > refused_before);
  BOOST_TEST(mapped[1] < mapped[0] / 2);
  for (int i = 0; i < 1'000; ++i) {  // what is left is offered each time
    pages()->deallocate(pages()->allocate(1), 1);
  }
  BOOST_TEST(upstream.all_went_back());
}

// Wherever the system begins to refuse: some requests fail, and nothing else. Afterwards all is as before.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_refused_mmap_fails_a_request, Pool, pools) {
  const std::size_t held_before = page_resource::held_bytes();
  std::size_t refused = 1;
  long passes = 0;
  for (; refused != 0 && passes < 1'000; ++passes) {
    checking_resource checked(pages());
    {
      Pool pool(&checked);
      random_life<Pool> life(pool);
      {
        const while_refused no_mmap(mmap_call, passes);
        life.go_on(2'000);
      }
      refused = std::exchange(life.refused, 0);
      BOOST_REQUIRE(fault_in(pool, checked) == "");
      life.go_on(500);
      life.free_all();
      BOOST_REQUIRE(life.refused + life.changed == 0U);
      BOOST_REQUIRE(fault_in(pool, checked) == "");
      BOOST_REQUIRE(pool.statistics().in_use_bytes == 0U);
    }
    BOOST_REQUIRE(checked.outstanding_bytes() == 0U);
    BOOST_REQUIRE(page_resource::held_bytes() == held_before);
  }
  BOOST_TEST(refused == 0U);
  BOOST_TEST(passes > 2);
}
