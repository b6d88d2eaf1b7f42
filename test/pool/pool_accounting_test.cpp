// Accounts of a pool: at every step of random runs they are those of upstream, and nothing gets lost in them.
// What goes back is booked under its reason; what is idle, under where it lies.
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory_resource>
#include <new>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/worker.hpp"

using cistern::pool_options;
using cistern::pool_statistics;
using cistern::synchronized_pool_resource;
using cistern::unsynchronized_pool_resource;
using cistern::testing::checking_resource;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

// What the user of a bucket, or of the oversize path, did.
struct traffic {
  std::uint64_t allocations = 0;
  std::uint64_t deallocations = 0;
  [[nodiscard]] std::uint64_t live() const { return allocations - deallocations; }
};

// Uses a pool at random, and keeps its own books.
class bookkeeper {
 public:
  explicit bookkeeper(const pool_options& options, std::uint64_t seed)
      : pool_(options, &upstream_), random_(seed) {}

  void step() {
    if (live_.empty() || (live_.size() < 400 && random_() % 2 == 0)) {
      const std::size_t bytes = 1 + below(random_, std::size_t{1} << (3 + random_() % 14));
      live_.push_back({pool_.allocate(bytes), bytes});
      ++book(bytes).allocations;
    } else {
      std::swap(live_[below(random_, live_.size())], live_.back());
      free_last();
    }
    if (random_() % 500 == 0) (void)pool_.trim(below(random_, 100 * kib));
  }

  void free_all() {
    while (!live_.empty()) free_last();
  }

  [[nodiscard]] std::string fault() const { return fault_in(pool_, upstream_); }

  // Conservation: what users did is what the buckets counted.
  void check_rows(bool operations_are_counted = true) {
    const pool_statistics s = pool_.statistics();
    std::size_t rows_used = 0;
    for (const auto& [block_bytes, done] : books_) {
      if (block_bytes > pool_.options().largest_required_pool_block) continue;
      const cistern::bucket_statistics row = bucket_of(s, block_bytes);
      BOOST_TEST_INFO("block of " << block_bytes << " bytes");
      BOOST_REQUIRE(row.live_blocks == done.live());
      if (operations_are_counted) {
        BOOST_REQUIRE(row.hits + row.misses == done.allocations);
        BOOST_REQUIRE(row.returned + row.discarded == done.deallocations);
      } else {
        BOOST_REQUIRE(row.hits + row.returned == 0U);
      }
      ++rows_used;
    }
    BOOST_REQUIRE(s.buckets.size() == rows_used);
    check_oversize(s);
  }

  unsynchronized_pool_resource& pool() { return pool_; }
  checking_resource& upstream() { return upstream_; }

 private:
  void check_oversize(const pool_statistics& s) const {
    traffic all;
    for (const auto& [block_bytes, done] : books_) {
      if (block_bytes <= pool_.options().largest_required_pool_block) continue;
      all.allocations += done.allocations;
      all.deallocations += done.deallocations;
    }
    BOOST_REQUIRE(s.oversize.allocations == all.allocations);
    BOOST_REQUIRE(s.oversize.deallocations == all.deallocations);
    BOOST_REQUIRE(s.oversize.live_blocks == all.live());
  }

  // Requests are aligned to 16 bytes, so their blocks are multiples of that.
  traffic& book(std::size_t bytes) {
    return books_[unsynchronized_pool_resource::good_size((bytes + 15) / 16 * 16)];
  }

  void free_last() {
    pool_.deallocate(live_.back().ptr, live_.back().bytes);
    ++book(live_.back().bytes).deallocations;
    live_.pop_back();
  }

  checking_resource upstream_;
  unsynchronized_pool_resource pool_;
  std::mt19937_64 random_;
  std::vector<user_block> live_;
  std::map<std::size_t, traffic> books_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_accounts_are_exact_at_every_step) {
  std::uint64_t seed = 1;
  for (const pool_options& options :
       {pool_options{}, pool_options{.max_idle_bytes = 0}, pool_options{.max_idle_bytes = 50 * kib},
        pool_options{.max_blocks_per_chunk = 5, .max_idle_blocks_per_bucket = 7},
        pool_options{.largest_required_pool_block = 2 * kib}, pool_options{.zero_on_free = true}}) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      bookkeeper books(options, seed++);
      for (std::size_t i = 0; i < scaled(6'000); ++i) {
        books.step();
        BOOST_REQUIRE(books.fault() == "");
        if (i % 50 == 0) books.check_rows();
      }
      books.free_all();
      books.check_rows();
      BOOST_TEST(books.pool().statistics().in_use_bytes == 0U);
      BOOST_TEST(books.fault() == "");
      (void)books.pool().trim();
      BOOST_TEST(books.upstream().outstanding_bytes() == 0U);
      BOOST_TEST(books.fault() == "");
      books.check_rows();
    }
  }
}

BOOST_AUTO_TEST_CASE(uncounted_operations_change_no_other_figure) {
  bookkeeper counted({}, 42);
  bookkeeper uncounted({.count_operations = false}, 42);
  for (std::size_t i = 0; i < scaled(6'000); ++i) {
    counted.step();
    uncounted.step();
  }
  counted.check_rows();
  uncounted.check_rows(false);
  pool_statistics expected = counted.pool().statistics();
  for (cistern::bucket_statistics& row : expected.buckets) row.hits = row.returned = 0;
  BOOST_TEST((uncounted.pool().statistics() == expected));
}

BOOST_AUTO_TEST_CASE(counters_go_on_after_release) {
  bookkeeper books({}, 3);
  for (int i = 0; i < 500; ++i) books.step();
  books.free_all();
  const pool_statistics before = books.pool().statistics();
  books.pool().release();
  books.check_rows();
  const pool_statistics after = books.pool().statistics();
  BOOST_TEST(after.upstream_bytes == 0U);
  BOOST_TEST(after.idle_bytes == 0U);
  BOOST_TEST(after.overhead_bytes == 0U);
  BOOST_TEST(after.peak_upstream_bytes == before.peak_upstream_bytes);
  BOOST_TEST(after.upstream_allocations == before.upstream_allocations);
  BOOST_TEST(after.upstream_deallocations == after.upstream_allocations);
  for (int i = 0; i < 500; ++i) books.step();
  books.check_rows();
  BOOST_TEST(books.fault() == "");
}

BOOST_AUTO_TEST_CASE(release_with_live_blocks_leaves_none_in_the_books) {
  checking_resource upstream;
  unsynchronized_pool_resource pool({.largest_required_pool_block = mib}, &upstream);
  (void)allocate_many(pool, 100, 100);
  (void)pool.allocate(2 * mib);
  pool.release();
  const pool_statistics s = pool.statistics();
  BOOST_TEST(s.in_use_bytes == 0U);
  BOOST_TEST(bucket_of(s, 112).live_blocks == 0U);
  BOOST_TEST(bucket_of(s, 112).depth == 0U);
  BOOST_TEST(s.oversize.live_blocks == 0U);
  BOOST_TEST(s.oversize.allocations == 1U);
  BOOST_TEST(fault_in(pool, upstream) == "");
}

// The first block comes with three more, from a span of six.
BOOST_AUTO_TEST_CASE(one_block_is_in_the_right_row) {
  checking_resource upstream;
  unsynchronized_pool_resource pool(&upstream);
  void* const block = pool.allocate(100);
  pool_statistics s = pool.statistics();
  BOOST_TEST(s.buckets.size() == 1U);
  BOOST_TEST((s.buckets[0] ==
              cistern::bucket_statistics{.block_bytes = 112, .misses = 1, .depth = 3, .live_blocks = 1}));
  BOOST_TEST(s.in_use_bytes == 112U);
  BOOST_TEST(s.idle_bytes == 672U - 112);
  BOOST_TEST(s.overhead_bytes == 2 * 64U);
  pool.deallocate(block, 100);
  s = pool.statistics();
  BOOST_TEST((s.buckets[0] ==
              cistern::bucket_statistics{.block_bytes = 112, .misses = 1, .returned = 1, .depth = 4}));
  BOOST_TEST(s.in_use_bytes == 0U);
}

BOOST_AUTO_TEST_CASE(a_large_block_is_in_the_right_row) {
  checking_resource upstream;
  unsynchronized_pool_resource pool(&upstream);
  void* const block = pool.allocate(60 * kib);
  pool_statistics s = pool.statistics();
  BOOST_TEST(s.buckets.size() == 1U);
  BOOST_TEST(
      (s.buckets[0] == cistern::bucket_statistics{.block_bytes = 64 * kib, .misses = 1, .live_blocks = 1}));
  BOOST_TEST(s.in_use_bytes == 64 * kib);
  BOOST_TEST(s.idle_bytes == 0U);
  BOOST_TEST(s.overhead_bytes == 64U + 16 * 68 + 8);
  pool.deallocate(block, 60 * kib);
  pool.deallocate(pool.allocate(60 * kib), 60 * kib);
  s = pool.statistics();
  BOOST_TEST(
      (s.buckets[0] == cistern::bucket_statistics{
                           .block_bytes = 64 * kib, .hits = 1, .misses = 1, .returned = 2, .depth = 1}));
  BOOST_TEST(s.idle_bytes == 64 * kib);
}

BOOST_AUTO_TEST_SUITE(given_back)

namespace {

using pools = std::tuple<unsynchronized_pool_resource, synchronized_pool_resource>;

// Counts what it gets back, and refuses to have more than so much out. What was allocated by the same call of
// the pool doesn't count: that asked whether it has a use for what it got.
class narrow_resource final : public std::pmr::memory_resource {
 public:
  explicit narrow_resource(std::pmr::memory_resource* upstream) : upstream_(upstream) {}
  std::size_t most_bytes = SIZE_MAX;
  std::size_t returned_bytes = 0;
  void* newest = nullptr;  // since this was set to null

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (bytes > most_bytes - std::min(most_bytes, out_bytes_)) throw std::bad_alloc();
    void* const memory = upstream_->allocate(bytes, alignment);
    out_bytes_ += bytes;
    return newest = memory;
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    upstream_->deallocate(memory, bytes, alignment);
    out_bytes_ -= bytes;
    returned_bytes += memory == newest ? 0 : bytes;
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::pmr::memory_resource* upstream_;
  std::size_t out_bytes_ = 0;
};

// Blocks of pages, which lie in regions, not alone: those go back with the last of their blocks, unbooked.
template <class Pool>
struct ground {
  explicit ground(const pool_options& options) : pool(options, &narrow) {}

  [[nodiscard]] void* allocate(std::size_t bytes) {
    narrow.newest = nullptr;
    return pool.allocate(bytes);
  }
  void deallocate(void* block, std::size_t bytes) {
    narrow.newest = nullptr;
    pool.deallocate(block, bytes);
  }
  std::size_t trim(std::size_t keep_bytes) {
    narrow.newest = nullptr;
    return pool.trim(keep_bytes);
  }
  void rise_and_fall(std::size_t count, std::size_t bytes) {
    std::vector<void*> blocks(count);
    for (void*& block : blocks) block = allocate(bytes);
    for (void* const block : blocks) deallocate(block, bytes);
  }
  [[nodiscard]] std::size_t idle() const { return pool.statistics().given_back_idle_bytes; }
  [[nodiscard]] std::size_t by_trim() const { return pool.statistics().given_back_trim_bytes; }
  [[nodiscard]] std::size_t in_need() const { return pool.statistics().given_back_need_bytes; }
  [[nodiscard]] std::string fault() const {
    const std::size_t booked = idle() + by_trim() + in_need();
    if (booked != narrow.returned_bytes) {
      return std::to_string(booked) + " booked, " + std::to_string(narrow.returned_bytes) + " returned";
    }
    return fault_in(pool, checked);
  }

  checking_resource checked;
  narrow_resource narrow{&checked};
  Pool pool;
};

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(more_than_may_be_idle, Pool, pools) {
  ground<Pool> g({.max_idle_bytes = mib});
  g.rise_and_fall(40, 600 * kib);
  BOOST_TEST(g.idle() >= 20 * mib);
  BOOST_TEST(g.by_trim() == 0U);
  BOOST_TEST(g.in_need() == 0U);
  BOOST_TEST(g.fault() == "");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(by_trim, Pool, pools) {
  ground<Pool> g({});
  g.rise_and_fall(40, 600 * kib);
  BOOST_TEST(g.narrow.returned_bytes == 0U);
  const std::size_t trimmed = g.trim(0);
  BOOST_TEST(trimmed == g.by_trim());
  BOOST_TEST(g.by_trim() >= 20 * mib);
  BOOST_TEST(g.idle() == 0U);
  BOOST_TEST(g.in_need() == 0U);
  BOOST_TEST(g.fault() == "");
}

// By upstream, and by `max_bytes`.
BOOST_AUTO_TEST_CASE_TEMPLATE(lest_a_request_be_refused, Pool, pools) {
  for (const bool upstream_refuses : {true, false}) {
    ground<Pool> g({.max_bytes = upstream_refuses ? cistern::no_limit : 16 * mib});
    g.narrow.most_bytes = upstream_refuses ? 16 * mib : SIZE_MAX;
    g.rise_and_fall(300, 40 * kib);
    BOOST_TEST(g.narrow.returned_bytes == 0U);
    g.rise_and_fall(1, 10 * mib);
    BOOST_TEST(g.in_need() >= 8 * mib);
    BOOST_TEST(g.idle() == 0U);
    BOOST_TEST(g.by_trim() == 0U);
    BOOST_TEST(g.fault() == "");
  }
}

// For all three reasons, one after the other.
BOOST_AUTO_TEST_CASE_TEMPLATE(every_byte_is_booked_once, Pool, pools) {
  std::mt19937_64 random(1);
  ground<Pool> g({.max_idle_bytes = 8 * mib});
  std::vector<user_block> live;
  std::size_t wanted = 0;
  for (std::size_t step = 0; step < 20'000; ++step) {
    if (step % 1'000 == 0) wanted = below(random, 120);
    g.narrow.most_bytes = (step / 500 % 2 == 0 ? 64 : 24) * mib;
    if (step % 700 == 0) (void)g.trim(below(random, 4 * mib));
    if (live.size() < wanted) {
      const std::size_t bytes = 33 * kib + below(random, std::size_t{1} << (16 + random() % 6));
      try {
        live.push_back({g.allocate(bytes), bytes});
      } catch (const std::bad_alloc&) {
      }
    } else if (!live.empty()) {
      std::swap(live[below(random, live.size())], live.back());
      g.deallocate(live.back().ptr, live.back().bytes);
      live.pop_back();
    }
    if (step % 10 == 0) {
      const std::string fault = g.fault();
      BOOST_REQUIRE_MESSAGE(fault.empty(), "step " << step << ": " << fault);
    }
  }
  for (const user_block& block : live) g.deallocate(block.ptr, block.bytes);
  BOOST_TEST(g.fault() == "");
  BOOST_TEST(g.idle() > 0U);
  BOOST_TEST(g.by_trim() > 0U);
  BOOST_TEST(g.in_need() > 0U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(idle_by_where_it_lies)

// One block of every so many stays, so that the memory lies in spans, pages and lists.
BOOST_AUTO_TEST_CASE(each_place_in_turn) {
  checking_resource upstream;
  unsynchronized_pool_resource pool(&upstream);
  std::vector<void*> blocks = allocate_many(pool, 40'000, 200);
  BOOST_TEST(fault_in(pool, upstream) == "");
  std::vector<void*> survivors;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i % 1'000 == 0) {
      survivors.push_back(blocks[i]);
    } else {
      pool.deallocate(blocks[i], 200);
    }
  }
  BOOST_TEST(fault_in(pool, upstream) == "");
  BOOST_TEST(pool.statistics().idle_in_lists_bytes > 7 * mib);
  (void)pool.trim();
  pool_statistics s = pool.statistics();
  BOOST_TEST(fault_in(pool, upstream) == "");
  BOOST_TEST(s.idle_in_lists_bytes == 0U);
  BOOST_TEST(s.idle_in_spans_bytes > 40U * 3 * kib);
  BOOST_TEST(s.idle_in_pages_bytes > mib);
  BOOST_TEST(s.idle_in_regions_bytes == 0U);
  deallocate_all(pool, survivors, 200);
  s = pool.statistics();
  BOOST_TEST(fault_in(pool, upstream) == "");
  BOOST_TEST(s.idle_in_spans_bytes == 0U);
  BOOST_TEST(s.idle_in_caches_bytes == 0U);
}

// Of threads that wait, and of threads that have ended.
BOOST_AUTO_TEST_CASE(in_caches) {
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  const auto use = [&] {
    std::mt19937_64 random(7);
    for (int round = 0; round < 20; ++round) {
      const std::size_t bytes = 1 + below(random, 20 * kib);
      deallocate_all(pool, allocate_many(pool, 50, bytes), bytes);
    }
  };
  {
    worker waits;
    waits.run(use);
    const std::size_t of_one = pool.statistics().idle_in_caches_bytes;
    BOOST_TEST(of_one > 100 * kib);
    BOOST_TEST(fault_in(pool, upstream) == "");
    {
      worker ends;
      ends.run(use);
      BOOST_TEST(pool.statistics().idle_in_caches_bytes > of_one);
      BOOST_TEST(fault_in(pool, upstream) == "");
    }
    BOOST_TEST(pool.statistics().idle_in_caches_bytes == of_one);
    BOOST_TEST(fault_in(pool, upstream) == "");
    (void)pool.trim();
    BOOST_TEST(pool.statistics().idle_in_caches_bytes == of_one);
    BOOST_TEST(fault_in(pool, upstream) == "");
  }
  BOOST_TEST(pool.statistics().idle_in_caches_bytes == 0U);
  BOOST_TEST(fault_in(pool, upstream) == "");
  (void)pool.trim();
  BOOST_TEST(pool.statistics().idle_bytes == 0U);
  BOOST_TEST(fault_in(pool, upstream) == "");
}

BOOST_AUTO_TEST_SUITE_END()
