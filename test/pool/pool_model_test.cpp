// A pool against a model: random use under many options, with an upstream that fails at random.
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"

using cistern::pool_options;
using cistern::unsynchronized_pool_resource;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

// What a request gets, from the contract alone.
std::size_t expected_grant(const pool_options& o, std::size_t bytes, std::size_t alignment) {
  if (o.pass_through) return bytes;
  const std::size_t whole = bytes == 0 ? 1 : bytes;
  const std::size_t rounded = (whole + alignment - 1) / alignment * alignment;
  if (alignment <= 4096 && rounded <= o.largest_required_pool_block) {
    return unsynchronized_pool_resource::good_size(rounded);
  }
  return (whole + 15) / 16 * 16;
}

// The model: which blocks live, how large they are, and what is in them.
class modelled_pool {
 public:
  modelled_pool(const pool_options& options, std::uint64_t seed)
      : pool_(options, &failing_), options_(pool_.options()), random_(seed) {}

  void step() {
    const bool fails = random_() % 40 == 0;
    if (fails) failing_.fail_nth(1 + random_() % 2);
    const std::size_t what = below(random_, 1000);
    if (what < 2) {
      release();
    } else if (what < 10) {
      trim();
    } else if (what < 500 + growth()) {
      allocate(fails);
    } else if (!live_.empty()) {
      deallocate(below(random_, live_.size()));
    }
    failing_.disarm();
  }

  void check() const {
    BOOST_REQUIRE(fault_in(pool_, checked_) == "");
    BOOST_REQUIRE(pool_.statistics().in_use_bytes == in_use_bytes_);
    BOOST_REQUIRE(checked_.peak_bytes() <= options_.max_bytes);
  }

  void finish() {
    while (!live_.empty()) deallocate(below(random_, live_.size()));
    check();
    if (options_.max_idle_bytes == 0) BOOST_REQUIRE(checked_.outstanding_bytes() == 0U);
    (void)pool_.trim();
    check();
    BOOST_REQUIRE(checked_.outstanding_bytes() == 0U);
    BOOST_TEST(allocations_ > 0U);
  }

 private:
  struct model_block : user_block {
    std::size_t granted_bytes;
    std::size_t known_bytes;  // What the user may touch.
  };

  // Waves of growth and decline, so that chunks become free as a whole.
  std::size_t growth() { return ++steps_ / 1500 % 2 == 0 ? 150 : 0; }

  std::size_t random_size() {
    const std::size_t kind = below(random_, 1000);
    if (kind < 700) return below(random_, 513);
    if (kind < 950) return below(random_, 8 * kib);
    if (kind < 995) return below(random_, 128 * kib);
    return below(random_, 2 * mib);
  }

  std::size_t random_alignment() {
    return random_() % 5 != 0 ? 8 : std::size_t{1} << below(random_, random_() % 4 != 0 ? 8 : 17);
  }

  void allocate(bool fails) {
    const std::size_t bytes = random_size();
    const std::size_t alignment = random_alignment();
    const auto before = pool_.statistics();
    try {
      model_block block{{nullptr, bytes, alignment, static_cast<unsigned char>(random_())},
                        expected_grant(options_, bytes, alignment),
                        bytes};
      if (random_() % 4 == 0) {
        const cistern::sized_block got = pool_.allocate_at_least(bytes, alignment);
        BOOST_REQUIRE(got.bytes == block.granted_bytes);
        block.ptr = got.ptr;
        block.known_bytes = got.bytes;
      } else {
        block.ptr = pool_.allocate(bytes, alignment);
      }
      remember(block);
    } catch (const std::bad_alloc&) {
      BOOST_REQUIRE((fails || options_.max_bytes != cistern::no_limit));
      const auto after = pool_.statistics();  // All but idle memory is as it was.
      BOOST_REQUIRE(after.in_use_bytes == before.in_use_bytes);
      BOOST_REQUIRE(after.upstream_bytes <= before.upstream_bytes);
      BOOST_REQUIRE((after.oversize == before.oversize));
    }
  }

  void remember(const model_block& block) {
    ++allocations_;
    BOOST_REQUIRE(block.aligned());
    if (options_.zero_on_free || block.known_bytes > 0) fill(block, block.known_bytes);
    const auto begin = reinterpret_cast<std::uintptr_t>(block.ptr);
    const auto next = taken_.lower_bound(begin);
    if (next != taken_.end()) BOOST_REQUIRE(begin + block.granted_bytes <= next->first);
    if (next != taken_.begin()) BOOST_REQUIRE(std::prev(next)->second <= begin);
    taken_.emplace(begin, begin + block.granted_bytes);
    in_use_bytes_ += block.granted_bytes;
    live_.push_back(block);
  }

  void deallocate(std::size_t index) {
    std::swap(live_[index], live_.back());
    const model_block block = live_.back();
    live_.pop_back();
    BOOST_REQUIRE(filled(block, block.known_bytes));
    taken_.erase(reinterpret_cast<std::uintptr_t>(block.ptr));
    in_use_bytes_ -= block.granted_bytes;
    pool_.deallocate(block.ptr, random_() % 2 == 0 ? block.bytes : block.known_bytes, block.alignment);
  }

  void trim() {
    const std::size_t keep_bytes = random_() % 2 == 0 ? 0 : below(random_, 4 * mib);
    const std::size_t before_bytes = checked_.outstanding_bytes();
    const std::size_t returned_bytes = pool_.trim(keep_bytes);
    BOOST_REQUIRE(before_bytes - checked_.outstanding_bytes() == returned_bytes);
  }

  void release() {
    if (random_() % 4 != 0) return;
    pool_.release();
    live_.clear();
    taken_.clear();
    in_use_bytes_ = 0;
    BOOST_REQUIRE(checked_.outstanding_bytes() == 0U);
  }

  cistern::testing::checking_resource checked_;
  cistern::testing::failing_resource failing_{&checked_};
  unsynchronized_pool_resource pool_;
  pool_options options_;
  std::mt19937_64 random_;
  std::vector<model_block> live_;
  std::map<std::uintptr_t, std::uintptr_t> taken_;
  std::size_t in_use_bytes_ = 0;
  std::size_t allocations_ = 0;
  std::size_t steps_ = 0;
};

void run(const pool_options& options) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      modelled_pool pool(options, seed);
      for (std::size_t i = 0; i < scaled(15'000); ++i) {
        pool.step();
        if (i % 16 == 0) pool.check();
      }
      pool.finish();
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(defaults) {
  run({});
}
BOOST_AUTO_TEST_CASE(a_low_ceiling) {
  run({.max_bytes = 200 * kib});
}
BOOST_AUTO_TEST_CASE(a_tiny_ceiling) {
  run({.max_bytes = 5'000});
}
BOOST_AUTO_TEST_CASE(nothing_idle) {
  run({.max_idle_bytes = 0});
}
BOOST_AUTO_TEST_CASE(little_idle) {
  run({.max_idle_bytes = 100 * kib});
}
BOOST_AUTO_TEST_CASE(no_block_idle) {
  run({.max_idle_blocks_per_bucket = 0});
}
BOOST_AUTO_TEST_CASE(few_blocks_idle) {
  run({.max_idle_blocks_per_bucket = 5});
}
BOOST_AUTO_TEST_CASE(small_chunks) {
  run({.max_blocks_per_chunk = 3});
}
BOOST_AUTO_TEST_CASE(chunks_of_one_block) {
  run({.max_blocks_per_chunk = 1, .max_idle_bytes = 20 * kib});
}
BOOST_AUTO_TEST_CASE(small_blocks_pooled_only) {
  run({.largest_required_pool_block = 100});
}
BOOST_AUTO_TEST_CASE(zeroing) {
  run({.largest_required_pool_block = 10 * kib, .zero_on_free = true});
}
BOOST_AUTO_TEST_CASE(zeroing_with_bounds) {
  run({.max_idle_bytes = 50 * kib, .max_idle_blocks_per_bucket = 9, .zero_on_free = true});
}
BOOST_AUTO_TEST_CASE(pass_through) {
  run({.pass_through = true});
}
BOOST_AUTO_TEST_CASE(pass_through_under_a_ceiling) {
  run({.max_bytes = 300 * kib, .pass_through = true});
}
BOOST_AUTO_TEST_CASE(uncounted_without_limits) {
  run({.largest_required_pool_block = cistern::no_limit,
       .max_idle_bytes = cistern::no_limit,
       .count_operations = false});
}
