// Memory that follows its use: the shapes that made pools slow for good, shown by counting calls of upstream
// and bytes held, never by the clock.
//
// Plan, a case each: survivors of an expiry; large blocks up and down beyond the bound; a steady state after
// a phase of other sizes; few survivors of many phases; quiet traffic after a burst; a use that rises and
// falls beyond the bound; one size's memory serves another; a fixed arena; repeated refusals; short lives.
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/no_limit.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>
#include <random>
#include <tuple>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/threads.hpp"

using cistern::pool_options;
using cistern::synchronized_pool_resource;
using cistern::unsynchronized_pool_resource;
using cistern::testing::checking_resource;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;
constexpr std::size_t page = 4 * kib;

using both_pools = std::tuple<unsynchronized_pool_resource, synchronized_pool_resource>;

template <class Pool>
struct fixture {
  explicit fixture(const pool_options& options = {}) : pool(options, &upstream) {}

  [[nodiscard]] std::uint64_t calls() const { return upstream.allocations() + upstream.deallocations(); }
  void free_all(std::vector<void*>& blocks, std::size_t bytes, bool in_random_order = false) {
    if (in_random_order) std::shuffle(blocks.begin(), blocks.end(), random);
    deallocate_all(pool, blocks, bytes);
    blocks.clear();
  }

  checking_resource upstream;
  Pool pool;
  std::mt19937_64 random{1};
};

// As many blocks as there is memory for.
template <class Pool>
std::vector<void*> allocate_all(Pool& pool, std::size_t bytes) {
  std::vector<void*> blocks;
  try {
    for (;;) blocks.push_back(pool.allocate(bytes, 8));
  } catch (const std::bad_alloc&) {
  }
  return blocks;
}

}  // namespace

namespace {

/// A map's nodes of two sizes, of which 95 in 100 expire.
template <class Pool>
void fill_and_expire(Pool& pool, std::size_t entries) {
  std::vector<void*> nodes;
  std::vector<void*> texts;
  for (std::size_t i = 0; i < entries; ++i) {
    nodes.push_back(pool.allocate(56, 8));
    texts.push_back(pool.allocate(201, 1));
  }
  for (std::size_t i = 0; i < entries; ++i) {
    if ((i * 2'654'435'761U >> 16) % 20 == 0) continue;
    pool.deallocate(nodes[i], 56, 8);
    pool.deallocate(texts[i], 201, 1);
  }
}

constexpr std::size_t temporaries = 20'000;

template <class Pool>
void make_temporaries(Pool& pool, std::size_t bytes, std::size_t count = temporaries) {
  for (std::size_t i = 0; i < count; ++i) pool.deallocate(pool.allocate(bytes, 1), bytes, 1);
}

/// What expires is 28 MiB, and over the default bound 140.
std::size_t entries_beyond(std::size_t max_idle_bytes) {
  return scaled(max_idle_bytes > mib ? 500'000 : 100'000);
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(survivors_do_not_make_other_sizes_pay, Pool, both_pools) {
  for (const std::size_t max_idle_bytes : {pool_options{}.max_idle_bytes, std::size_t{0}, mib}) {
    for (const std::size_t temporary_bytes : {std::size_t{1500}, 70 * kib}) {
      fixture<Pool> f({.max_idle_bytes = max_idle_bytes});
      fill_and_expire(f.pool, entries_beyond(max_idle_bytes));
      const std::uint64_t before = f.calls();
      make_temporaries(f.pool, temporary_bytes);
      BOOST_TEST_INFO("max_idle_bytes " << max_idle_bytes << ", temporaries of " << temporary_bytes);
      BOOST_TEST(f.calls() - before <= 2 * temporaries / 100);
      BOOST_TEST(fault_in(f.pool, f.upstream) == "");
    }
  }
}

// Each has a map of its own, and works beside the survivors of both.
BOOST_AUTO_TEST_CASE(nor_where_two_threads_have_survivors) {
  for (const std::size_t max_idle_bytes : {pool_options{}.max_idle_bytes, std::size_t{0}, mib}) {
    fixture<synchronized_pool_resource> f({.max_idle_bytes = max_idle_bytes});
    run_threads(2, [&](std::size_t) { fill_and_expire(f.pool, entries_beyond(max_idle_bytes) / 2); });
    const std::uint64_t before = f.calls();
    run_threads(2, [&](std::size_t index) { make_temporaries(f.pool, index == 0 ? 1500 : 70 * kib); });
    BOOST_TEST_INFO("max_idle_bytes " << max_idle_bytes);
    BOOST_TEST(f.calls() - before <= 2 * 2 * temporaries / 100);
    f.pool.check_invariants();
  }
}

// Nothing else keeps its region, which would go and come again with each use.
BOOST_AUTO_TEST_CASE_TEMPLATE(nor_where_a_temporary_has_a_region_to_itself, Pool, both_pools) {
  for (const std::size_t max_idle_bytes : {std::size_t{0}, mib}) {
    for (const std::size_t bytes :
         {std::size_t{1500}, 20 * kib, 70 * kib, 200 * kib, 600 * kib, mib, 20 * mib}) {
      fixture<Pool> f({.max_idle_bytes = max_idle_bytes});
      fill_and_expire(f.pool, entries_beyond(max_idle_bytes));
      std::vector<void*> fillers;
      for (const std::uint64_t before = f.upstream.allocations(); f.upstream.allocations() == before;) {
        fillers.push_back(f.pool.allocate(bytes, 1));
      }
      f.pool.deallocate(fillers.back(), bytes, 1);
      fillers.pop_back();
      const std::uint64_t before = f.calls();
      const std::size_t count = bytes < mib ? temporaries : temporaries / 10;
      make_temporaries(f.pool, bytes, count);
      BOOST_TEST_INFO("max_idle_bytes " << max_idle_bytes << ", temporaries of " << bytes);
      BOOST_TEST(f.calls() - before <= count / 100);
      deallocate_all(f.pool, fillers, bytes, 1);
      BOOST_TEST(fault_in(f.pool, f.upstream) == "");
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(large_blocks_up_and_down_beyond_the_bound, Pool, both_pools) {
  constexpr std::size_t count = 100;  // MiB: 36 more than may stay
  fixture<Pool> f;
  std::vector<void*> blocks;
  const auto up_and_down = [&](int rounds) {
    for (int round = 0; round < rounds; ++round) {
      blocks = allocate_many(f.pool, count, mib);
      f.free_all(blocks, mib, true);
    }
  };
  up_and_down(3);
  const std::uint64_t before = f.calls();
  constexpr int rounds = 10;
  up_and_down(rounds);
  // What is used again and again may be three times the bound, so nothing goes back only to come again.
  BOOST_TEST(f.calls() - before == 0U);
  BOOST_TEST(f.pool.statistics().idle_bytes <= 3 * 64 * mib);
  BOOST_TEST(fault_in(f.pool, f.upstream) == "");
}

// How many are up at once is chance, but never more than were before.
BOOST_AUTO_TEST_CASE(large_blocks_of_two_threads_up_and_down) {
  constexpr std::size_t count_each = 50;
  constexpr int rounds = 20;
  fixture<synchronized_pool_resource> f;
  const auto both_up = [&] { deallocate_all(f.pool, allocate_many(f.pool, 2 * count_each, mib), mib); };
  for (int round = 0; round < 3; ++round) both_up();
  const std::uint64_t before = f.calls();
  run_threads(2, [&](std::size_t) {
    for (int round = 0; round < rounds; ++round) {
      deallocate_all(f.pool, allocate_many(f.pool, count_each, mib), mib);
    }
  });
  BOOST_TEST(f.calls() - before <= 2 * 2 * rounds * count_each / 100);
  BOOST_TEST(f.pool.statistics().idle_bytes <= 3 * 64 * mib);
  f.pool.check_invariants();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(pieces_of_few_blocks_stay_within_the_bound, Pool, both_pools) {
  for (const std::size_t most_blocks : {1U, 4U, 256U}) {
    checking_resource upstream;
    Pool pool({.max_blocks_per_chunk = most_blocks}, &upstream);
    const auto up_and_down = [&] {
      std::vector<void*> blocks = allocate_many(pool, 10'000, 64);
      for (void* block : blocks) pool.deallocate(block, 64, 8);
    };
    up_and_down();
    const std::uint64_t before = pool.statistics().upstream_allocations;
    for (int round = 0; round < 5; ++round) up_and_down();
    BOOST_TEST(pool.statistics().upstream_allocations == before);
    BOOST_TEST(pool.trim() != 0U);
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
  }
}

namespace {

/// Blocks of one thread, replaced at random by others.
template <class Pool>
class replaced_blocks {
 public:
  replaced_blocks(Pool& pool, std::uint64_t seed) : pool_(pool), random_(seed) {}
  replaced_blocks(const replaced_blocks&) = delete;
  replaced_blocks& operator=(const replaced_blocks&) = delete;
  ~replaced_blocks() { begin(0); }

  /// Frees what there is; from now on there are so many places.
  void begin(std::size_t count) {
    for (const user_block& block : live_) {
      if (block.ptr != nullptr) pool_.deallocate(block.ptr, block.bytes);
    }
    live_.assign(count, {});
  }
  void replace(std::size_t times, std::size_t least_bytes, std::size_t most_bytes) {
    for (std::size_t i = 0; i < times; ++i) {
      user_block& place = live_[below(random_, live_.size())];
      if (place.ptr != nullptr) pool_.deallocate(place.ptr, place.bytes);
      place.bytes = least_bytes + below(random_, most_bytes - least_bytes);
      place.ptr = pool_.allocate(place.bytes);
    }
  }
  /// Replaces blocks of 1 to 256 KiB, and then begins with others of up to 1 MiB.
  void change_phase() {
    begin(100);
    replace(scaled(40'000), kib, 256 * kib);
    begin(32);
    replace(2'000, 64 * kib, mib);
  }

 private:
  Pool& pool_;
  std::mt19937_64 random_;
  std::vector<user_block> live_;
};

constexpr std::size_t steady_replacements = 10'000;  // two operations each

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(a_steady_state_after_a_phase_of_other_sizes, Pool, both_pools) {
  fixture<Pool> f;
  {
    replaced_blocks<Pool> blocks(f.pool, 1);
    blocks.change_phase();
    const std::uint64_t before = f.calls();
    blocks.replace(steady_replacements, 64 * kib, mib);
    BOOST_TEST(f.calls() - before <= 2 * steady_replacements / 100);
  }
  BOOST_TEST(fault_in(f.pool, f.upstream) == "");
}

BOOST_AUTO_TEST_CASE(a_steady_state_of_two_threads) {
  fixture<synchronized_pool_resource> f;
  {
    replaced_blocks<synchronized_pool_resource> one(f.pool, 1);
    replaced_blocks<synchronized_pool_resource> other(f.pool, 2);
    const auto on_two = [&](auto body) {
      run_threads(2, [&](std::size_t i) { body(i == 0 ? one : other); });
    };
    on_two([](auto& blocks) { blocks.change_phase(); });
    const std::uint64_t before = f.calls();
    on_two([](auto& blocks) { blocks.replace(steady_replacements, 64 * kib, mib); });
    BOOST_TEST(f.calls() - before <= 2 * 2 * steady_replacements / 100);
  }
  f.pool.check_invariants();
}

namespace {

constexpr int phases = 12;
constexpr std::size_t phase_bytes = 8 * mib;

/// Blocks of one size after another, of which one in 3,000 survives; returns how many did.
template <class Pool>
std::size_t leave_survivors(fixture<Pool>& f, std::size_t bytes_each_phase, std::size_t& most_held_bytes) {
  std::size_t survivors = 0;
  for (int phase = 0; phase < phases; ++phase) {
    const std::size_t bytes = 100 + 60 * static_cast<std::size_t>(phase);
    const std::vector<void*> blocks = allocate_many(f.pool, bytes_each_phase / bytes, bytes);
    most_held_bytes = std::max(most_held_bytes, f.upstream.outstanding_bytes());
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (i % 3'000 != 0) {
        f.pool.deallocate(blocks[i], bytes);
      } else {
        ++survivors;
      }
    }
  }
  return survivors;
}

}  // namespace

// Each survivor in a chunk of a MiB of its own would hold all of the phases, 96 MiB.
BOOST_AUTO_TEST_CASE_TEMPLATE(few_survivors_of_many_phases_hold_little, Pool, both_pools) {
  fixture<Pool> f({.max_idle_bytes = 8 * mib});
  std::size_t most_held_bytes = 0;
  BOOST_TEST(leave_survivors(f, phase_bytes, most_held_bytes) > 100U);
  BOOST_TEST_MESSAGE("held at the peak: " << most_held_bytes / kib << " KiB");
  BOOST_TEST(most_held_bytes <= phases * phase_bytes / 4);
  BOOST_TEST(fault_in(f.pool, f.upstream) == "");
}

BOOST_AUTO_TEST_CASE(few_survivors_of_two_threads_hold_little) {
  fixture<synchronized_pool_resource> f({.max_idle_bytes = 8 * mib});
  std::array<std::size_t, 2> most_held_bytes{};
  run_threads(2, [&](std::size_t index) { leave_survivors(f, phase_bytes / 2, most_held_bytes.at(index)); });
  const std::size_t most = std::max(most_held_bytes[0], most_held_bytes[1]);
  BOOST_TEST_MESSAGE("held at the peak: " << most / kib << " KiB");
  BOOST_TEST(most <= phases * phase_bytes / 3);  // a region more or less, as they take turns
  f.pool.check_invariants();
}

BOOST_AUTO_TEST_SUITE(bursts)

/// A thread's traffic: blocks of 1 to 256 KiB, as many small as large ones, freed in random order.
template <class Pool>
class traffic {
 public:
  traffic(Pool& pool, std::uint64_t seed) : pool_(pool), random_(seed) {}
  traffic(const traffic&) = delete;
  traffic& operator=(const traffic&) = delete;
  ~traffic() { fall_to(0); }

  void rise_to(std::size_t bytes) {
    while (live_bytes_ < bytes) take();
  }
  void fall_to(std::size_t bytes) {
    while (live_bytes_ > bytes) give();
  }
  void stay_at(std::size_t bytes, std::size_t operations) {
    for (std::size_t i = 0; i < operations; ++i) live_bytes_ > bytes ? give() : take();
  }

 private:
  void take() {
    const auto bytes =
        static_cast<std::size_t>(std::exp2(10 + 8 * std::generate_canonical<double, 32>(random_)));
    live_.push_back({pool_.allocate(bytes), bytes});
    live_bytes_ += bytes;
  }
  void give() {
    std::swap(live_[below(random_, live_.size())], live_.back());
    pool_.deallocate(live_.back().ptr, live_.back().bytes);
    live_bytes_ -= live_.back().bytes;
    live_.pop_back();
  }

  Pool& pool_;
  std::mt19937_64 random_;
  std::vector<user_block> live_;
  std::size_t live_bytes_ = 0;
};

constexpr std::size_t quiet_operations = 40'000;

/// Beside what is in use and what may be idle: a least stay of each class, what is free in spans and in
/// pieces too small for a call of the system, and the caches of threads.
template <class Pool>
std::size_t most_bytes(const Pool& pool) {
  const cistern::pool_statistics s = pool.statistics();
  return s.in_use_bytes + pool_options{}.max_idle_bytes + s.idle_in_caches_bytes + 16 * mib;
}

// Over new/delete the system gets what can't go back to upstream. Twice: memory that went comes again.
BOOST_AUTO_TEST_CASE_TEMPLATE(what_a_burst_left_takes_no_memory_when_it_is_quiet, Pool, both_pools) {
  Pool pool;
  traffic<Pool> only(pool, 1);
  for (int burst = 0; burst < 2; ++burst) {
    only.rise_to(240 * mib);
    only.fall_to(mib);
    only.stay_at(mib, quiet_operations);
    const cistern::pool_statistics quiet = pool.statistics();
    BOOST_TEST(quiet.upstream_bytes - quiet.idle_untouched_bytes <= most_bytes(pool));
    only.stay_at(mib, quiet_operations);
    const cistern::pool_statistics later = pool.statistics();
    BOOST_TEST(later.upstream_allocations + later.upstream_deallocations -
                   (quiet.upstream_allocations + quiet.upstream_deallocations) <=
               quiet_operations / 100);
    BOOST_TEST(later.discarded_bytes - quiet.discarded_bytes <= 64 * mib);
    pool.check_invariants();
  }
}

// A few blocks in the cache of the thread would hold region after region: caches are asked to hand over, and
// that is waited for.
BOOST_AUTO_TEST_CASE(nor_does_a_thread_hold_it_by_its_cache) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    synchronized_pool_resource pool;
    traffic<synchronized_pool_resource> only(pool, seed);
    only.rise_to(240 * mib);
    only.fall_to(mib);
    only.stay_at(mib, quiet_operations);
    const cistern::pool_statistics quiet = pool.statistics();
    BOOST_TEST(quiet.upstream_bytes <= most_bytes(pool));
    pool.check_invariants();
  }
}

BOOST_AUTO_TEST_CASE(nor_when_two_threads_share_the_pool) {
  synchronized_pool_resource pool;
  run_threads(2, [&](std::size_t index) {
    traffic<synchronized_pool_resource> one(pool, index + 1);
    one.rise_to(120 * mib);
    one.fall_to(mib / 2);
    one.stay_at(mib / 2, 2 * quiet_operations);
  });
  const cistern::pool_statistics quiet = pool.statistics();
  // What was in their caches came back when they ended, and nobody has used the pool since.
  const std::size_t from_caches_bytes = 2 * pool.options().thread_cache_bytes;
  BOOST_TEST(quiet.upstream_bytes - quiet.idle_untouched_bytes <= most_bytes(pool) + from_caches_bytes);
  pool.check_invariants();
}

// Of upstreams in general nothing is known: here the regions themselves go back, some MiB at a time.
BOOST_AUTO_TEST_CASE(what_a_burst_left_goes_back_to_any_upstream) {
  fixture<unsynchronized_pool_resource> f;
  traffic<unsynchronized_pool_resource> only(f.pool, 1);
  only.rise_to(240 * mib);
  only.fall_to(mib);
  std::size_t most_at_once = 0;
  for (std::size_t i = 0; i < quiet_operations; ++i) {
    const std::size_t before = f.upstream.outstanding_bytes();
    only.stay_at(mib, 1);
    most_at_once = std::max(most_at_once, before - std::min(before, f.upstream.outstanding_bytes()));
  }
  BOOST_TEST(f.upstream.outstanding_bytes() <= most_bytes(f.pool));
  BOOST_TEST(most_at_once <= 9 * mib);
  const std::uint64_t before = f.calls();
  only.stay_at(mib, quiet_operations);
  BOOST_TEST(f.calls() - before <= quiet_operations / 100);
  BOOST_TEST(fault_in(f.pool, f.upstream) == "");
}

// That the peak was a short while ago shows that its memory is needed: nothing goes, only to come again.
BOOST_AUTO_TEST_CASE_TEMPLATE(what_rises_and_falls_keeps_its_memory, Pool, both_pools) {
  for (const std::size_t bytes : {std::size_t{1000}, 40 * kib}) {
    Pool pool;
    std::mt19937_64 random(1);
    cistern::pool_statistics first;
    for (std::size_t round = 0; round < 6; ++round) {
      std::vector<void*> blocks = allocate_many(pool, (130 + round % 2) * mib / bytes, bytes);
      std::shuffle(blocks.begin(), blocks.end(), random);
      deallocate_all(pool, blocks, bytes);
      if (round == 1) first = pool.statistics();
    }
    const cistern::pool_statistics last = pool.statistics();
    BOOST_TEST_INFO("blocks of " << bytes);
    BOOST_TEST(last.upstream_allocations == first.upstream_allocations);
    BOOST_TEST(last.discarded_bytes == first.discarded_bytes);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE_TEMPLATE(memory_of_one_size_serves_another, Pool, both_pools) {
  for (const bool in_random_order : {false, true}) {
    fixture<Pool> f;
    std::vector<void*> small = allocate_many(f.pool, 16 * mib / 64, 64);
    f.free_all(small, 64, in_random_order);
    const std::uint64_t before = f.upstream.allocations();
    std::vector<void*> large = allocate_many(f.pool, 12 * mib / (100 * kib), 100 * kib);
    BOOST_TEST(f.upstream.allocations() == before);
    f.free_all(large, 100 * kib, in_random_order);
    std::vector<void*> middle = allocate_many(f.pool, 12 * mib / 3'000, 3'000);
    BOOST_TEST(f.upstream.allocations() == before);
    f.free_all(middle, 3'000, in_random_order);
    BOOST_TEST(fault_in(f.pool, f.upstream) == "");
  }
}

// What a thread that ended has left.
BOOST_AUTO_TEST_CASE(memory_of_one_thread_serves_another_size_of_another) {
  fixture<synchronized_pool_resource> f;
  run_thread([&] { deallocate_all(f.pool, allocate_many(f.pool, 16 * mib / 64, 64), 64); });
  const std::uint64_t before = f.upstream.allocations();
  run_thread(
      [&] { deallocate_all(f.pool, allocate_many(f.pool, 12 * mib / (100 * kib), 100 * kib), 100 * kib); });
  // The record of its cache is the first one's.
  BOOST_TEST(f.upstream.allocations() == before);
  BOOST_TEST(fault_in(f.pool, f.upstream) == "");
}

namespace {

/// What of memory with such a bound can be had in blocks of one size, in percent.
struct usable {
  std::size_t bounded_bytes;
  std::size_t arena_percent;           ///< A monotonic arena, in blocks of 64 and 256 bytes.
  std::size_t arena_of_pages_percent;  ///< In blocks of 4 KiB.
  std::size_t limit_percent;           ///< `max_bytes`, or a `limit_adaptor`, in blocks of either size.
};

// In an arena each region for pages loses most of one to the alignment of the next one: it has records behind
// its pages. A thread's cache takes 3.5 KiB. The standard's pool has, of 4 KiB, 0 % of 64 KiB, 70 % of 256.
constexpr std::array usable_memory = {
    usable{16 * kib, 67, 50, 71}, usable{64 * kib, 88, 62, 90}, usable{256 * kib, 93, 84, 95},
    usable{mib, 94, 92, 97},      usable{16 * mib, 97, 97, 98},
};

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(a_fixed_arena_can_be_used, Pool, both_pools) {
  for (const usable& least : usable_memory) {
    for (const std::size_t bytes : {std::size_t{64}, std::size_t{256}, 4 * kib}) {
      // Where in a page it begins matters, by a block or two: here least can be had.
      std::vector<std::byte> memory(least.bounded_bytes + 2 * page);
      std::byte* const begin =
          memory.data() + 16 + page - reinterpret_cast<std::uintptr_t>(memory.data()) % page;
      std::pmr::monotonic_buffer_resource arena(begin, least.bounded_bytes, std::pmr::null_memory_resource());
      Pool over_arena(&arena);
      cistern::limit_adaptor limit(least.bounded_bytes, nullptr);
      Pool over_limit(&limit);
      Pool limited({.max_bytes = least.bounded_bytes});
      for (Pool* const pool : {&over_arena, &over_limit, &limited}) {
        const std::vector<void*> blocks = allocate_all(*pool, bytes);
        const std::size_t percent = pool != &over_arena ? least.limit_percent
                                    : bytes < 4 * kib   ? least.arena_percent
                                                        : least.arena_of_pages_percent;
        BOOST_TEST_INFO(least.bounded_bytes << " bytes in blocks of " << bytes << ", bounded by "
                                            << (pool == &over_arena   ? "the arena"
                                                : pool == &over_limit ? "a limit_adaptor"
                                                                      : "max_bytes"));
        BOOST_TEST(blocks.size() * bytes >= least.bounded_bytes * percent / 100);
        pool->check_invariants();
        deallocate_all(*pool, blocks, bytes, 8);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_refuses_gets_no_more_calls_the_second_time) {
  checking_resource checked;
  cistern::limit_adaptor limit(4 * mib, &checked);
  for (const bool by_upstream : {false, true}) {
    cistern::testing::failing_resource counting(by_upstream ? static_cast<std::pmr::memory_resource*>(&limit)
                                                            : &checked);
    unsynchronized_pool_resource pool(by_upstream ? pool_options{} : pool_options{.max_bytes = 4 * mib},
                                      &counting);
    const std::vector<void*> blocks = allocate_all(pool, 64);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (i % 16 != 0) pool.deallocate(blocks[i], 64, 8);
    }
    BOOST_CHECK_THROW((void)pool.allocate(100 * kib), std::bad_alloc);
    for (int again = 0; again < 5; ++again) {
      const std::uint64_t attempts = counting.attempts();
      const std::uint64_t given_back = checked.deallocations();
      BOOST_CHECK_THROW((void)pool.allocate(100 * kib), std::bad_alloc);
      BOOST_TEST(counting.attempts() - attempts <=
                 (by_upstream ? 8U : 0U));  // each for half of the one before
      BOOST_TEST(checked.deallocations() == given_back);
    }
    // The free blocks are still there for their own size.
    const std::uint64_t attempts = counting.attempts();
    (void)allocate_many(pool, blocks.size() / 2, 64, 8);
    BOOST_TEST(counting.attempts() == attempts);
    pool.check_invariants();
  }
}

BOOST_AUTO_TEST_SUITE(short_lives)

BOOST_AUTO_TEST_CASE(a_pool_that_serves_nobody_asks_for_nothing) {
  checking_resource upstream;
  { const unsynchronized_pool_resource pool(&upstream); }
  { const synchronized_pool_resource pool(&upstream); }
  BOOST_TEST(upstream.allocations() == 0U);
}

/// What a pool takes of upstream for a block of each of `sizes`, in bytes and in calls, and that none of it
/// is lost.
struct need {
  std::size_t bytes;
  std::uint64_t calls;
};
template <class Pool>
need need_of(const std::vector<std::size_t>& sizes) {
  checking_resource upstream;
  need needed{};
  {
    Pool pool(&upstream);
    std::vector<void*> blocks;
    for (const std::size_t size : sizes) blocks.push_back(pool.allocate(size, 8));
    needed = {upstream.outstanding_bytes(), upstream.allocations()};
    for (std::size_t i = 0; i < sizes.size(); ++i) pool.deallocate(blocks[i], sizes[i], 8);
    BOOST_TEST(upstream.allocations() == needed.calls);
    pool.check_invariants();
  }
  BOOST_TEST(upstream.deallocations() == needed.calls);
  return needed;
}

std::vector<std::size_t> ten_sizes() {
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < 10; ++i) sizes.push_back(32 + 24 * i);
  return sizes;
}

// The standard's pools take 1,688 and 15,400 bytes, in 3 and 15 calls; 2,280 and 15,992 in 6 and 18.
BOOST_AUTO_TEST_CASE_TEMPLATE(ten_blocks_take_less_than_a_page, Pool, both_pools) {
  const need needed = need_of<Pool>(std::vector<std::size_t>(10, 64));
  BOOST_TEST(needed.calls == 1U);
  BOOST_TEST(needed.bytes == 768U + 2 * 64);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(ten_sizes_take_two_pages, Pool, both_pools) {
  const need needed = need_of<Pool>(ten_sizes());
  BOOST_TEST(needed.calls == 9U);  // two of them are of one class
  BOOST_TEST(needed.bytes <= 9U * (768 + 2 * 64));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(one_block_takes_less_than_a_page, Pool, both_pools) {
  for (const std::size_t bytes : {16U, 100U, 448U}) {
    const need needed = need_of<Pool>({bytes});
    BOOST_TEST(needed.calls == 1U);
    BOOST_TEST(needed.bytes <= 768U + 2 * 64);
  }
}

// Pages of the system come whole.
BOOST_AUTO_TEST_CASE(small_spans_are_not_asked_of_page_resource) {
  cistern::page_resource pages;
  unsynchronized_pool_resource pool(&pages);
  pool.deallocate(pool.allocate(100), 100);
  BOOST_TEST(pool.statistics().upstream_bytes == 64 + 2 * (4 * kib + 68) + 8);
}

// Once there are pages, no class takes memory that no other one could have.
BOOST_AUTO_TEST_CASE(a_pool_that_has_pages_serves_new_sizes_from_them) {
  checking_resource upstream;
  unsynchronized_pool_resource pool(&upstream);
  const std::vector<void*> blocks = allocate_many(pool, 1'100, 64);
  const std::uint64_t calls = upstream.allocations();
  void* const other = pool.allocate(200, 8);
  BOOST_TEST(upstream.allocations() == calls);
  pool.deallocate(other, 200, 8);
  deallocate_all(pool, blocks, 64);
}

// Where less than a page is refused, nothing else is tried that wasn't before, and nothing is lost.
BOOST_AUTO_TEST_CASE(a_small_span_that_is_refused_may_be_smaller) {
  unsynchronized_pool_resource pool({.max_bytes = 700});
  void* const block = pool.allocate(100);
  pool.check_invariants();
  pool.deallocate(block, 100);
  BOOST_TEST(pool.statistics().upstream_bytes <= 700U);
}

BOOST_AUTO_TEST_SUITE_END()
