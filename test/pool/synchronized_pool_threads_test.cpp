// Threads that share a synchronized_pool_resource: blocks change hands, options bite, accounts stay exact.
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_accounts.hpp"
#include "../support/threads.hpp"
#include <sys/mman.h>

using cistern::pool_options;
using cistern::pool_statistics;
using cistern::synchronized_pool_resource;
using cistern::test_support::accounts_fault;
using cistern::test_support::counted_operations;
using cistern::test_support::require;
using cistern::test_support::row_of;
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;
using cistern::testing::checking_resource;

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = kib * kib;

/// A small random number generator (xorshift64).
class random_numbers {
 public:
  explicit random_numbers(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15U + 1) {}
  std::uint64_t operator()() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>((*this)() % bound); }

 private:
  std::uint64_t state_;
};

/// A block filled with bytes that follow from its address and size, so that whoever frees it can check them.
struct marked_block {
  unsigned char* data = nullptr;
  std::size_t bytes = 0;
  std::size_t alignment = 1;

  [[nodiscard]] unsigned char mark() const {
    return static_cast<unsigned char>((reinterpret_cast<std::uintptr_t>(data) >> 3) * 31 + bytes) | 1U;
  }
};

marked_block allocate_marked(std::pmr::memory_resource& pool, std::size_t bytes, std::size_t alignment) {
  marked_block block{static_cast<unsigned char*>(pool.allocate(bytes, alignment)), bytes, alignment};
  require(reinterpret_cast<std::uintptr_t>(block.data) % alignment == 0, "misaligned block");
  std::memset(block.data, block.mark(), bytes);
  return block;
}

void free_marked(std::pmr::memory_resource& pool, const marked_block& block) {
  for (std::size_t i = 0; i < block.bytes; i += 1 + block.bytes / 64) {
    require(block.data[i] == block.mark(), "a block in use was overwritten");
  }
  if (block.bytes != 0) {
    require(block.data[block.bytes - 1] == block.mark(), "the end of a block in use was overwritten");
  }
  pool.deallocate(block.data, block.bytes, block.alignment);
}

/// Mostly small, now and then large; every class up to 100 KB and beyond the largest bucket of some options.
std::size_t random_bytes(random_numbers& random) {
  const std::size_t magnitude = random.below(random.below(20) == 0 ? 17 : 10);
  return random.below((std::size_t{2} << magnitude) + 1);
}

std::size_t random_alignment(random_numbers& random) {
  return random.below(50) == 0 ? std::size_t{1} << random.below(14) : std::size_t{1} << random.below(5);
}

/// Blocks on their way from one thread to another.
class exchange {
 public:
  void put(const marked_block& block) {
    const std::lock_guard guard(lock_);
    blocks_.push_back(block);
  }
  bool take(marked_block& block) {
    const std::lock_guard guard(lock_);
    if (blocks_.empty()) {
      return false;
    }
    block = blocks_.back();
    blocks_.pop_back();
    return true;
  }

 private:
  std::mutex lock_;
  std::vector<marked_block> blocks_;
};

struct model_totals {
  std::atomic<std::uint64_t> allocations{0};
  std::atomic<std::uint64_t> deallocations{0};
  std::atomic<std::uint64_t> refusals{0};
};

/// One thread's part in the model: allocates, frees its own blocks, hands blocks over, frees what it is
/// handed.
void churn(synchronized_pool_resource& pool, random_numbers& random, exchange& shared,
           std::vector<marked_block>& mine, model_totals& totals, int steps) {
  for (int step = 0; step < steps; ++step) {
    const std::size_t choice = random.below(10);
    if (choice < 5 && mine.size() < 300) {
      try {
        mine.push_back(allocate_marked(pool, random_bytes(random), random_alignment(random)));
        ++totals.allocations;
      } catch (const std::bad_alloc&) {
        ++totals.refusals;
      }
    } else if (choice < 8 && !mine.empty()) {
      std::swap(mine[random.below(mine.size())], mine.back());
      free_marked(pool, mine.back());
      mine.pop_back();
      ++totals.deallocations;
    } else if (choice == 8 && !mine.empty()) {
      shared.put(mine.back());
      mine.pop_back();
    } else if (marked_block handed; shared.take(handed)) {
      free_marked(pool, handed);
      ++totals.deallocations;
    }
  }
}

void require_exact(synchronized_pool_resource& pool, const checking_resource& upstream,
                   const model_totals& totals, bool counts) {
  const std::string fault = accounts_fault(pool, upstream);
  require(fault.empty(), fault.c_str());
  const auto counted = counted_operations(pool.statistics());
  require(!counts || counted.allocations == totals.allocations, "hits + misses != allocations");
  require(!counts || counted.deallocations == totals.deallocations, "returned + discarded != deallocations");
}

/// Four threads churn in rounds; between rounds, at a barrier, every account must be exact.
void run_model(const pool_options& options, const std::string& name, bool expect_refusals = false) {
  BOOST_TEST_CONTEXT(name) {
    constexpr std::size_t threads = 4;
    checking_resource upstream;
    model_totals totals;
    {
      synchronized_pool_resource pool(options, &upstream);
      exchange shared;
      std::barrier quiet(threads);
      run_threads(threads, [&](std::size_t index) {
        random_numbers random(index + 1);
        std::vector<marked_block> mine;
        for (int round = 0; round < 6; ++round) {
          churn(pool, random, shared, mine, totals, 2'000);
          quiet.arrive_and_wait();
          if (index == static_cast<std::size_t>(round) % threads) {
            require_exact(pool, upstream, totals, options.count_operations);
            if (round == 3) {
              pool.trim();
              require_exact(pool, upstream, totals, options.count_operations);
            }
          }
          quiet.arrive_and_wait();
        }
        for (const marked_block& block : mine) {
          free_marked(pool, block);
          ++totals.deallocations;
        }
      });
      for (marked_block left; shared.take(left);) {
        free_marked(pool, left);
        ++totals.deallocations;
      }
      require_exact(pool, upstream, totals, options.count_operations);
      BOOST_TEST(pool.statistics().in_use_bytes == 0U);
      BOOST_TEST(totals.allocations == totals.deallocations);
      BOOST_TEST((totals.refusals != 0) == expect_refusals);
      BOOST_TEST(upstream.peak_bytes() <= options.max_bytes);
      pool.trim();
      require_exact(pool, upstream, totals, options.count_operations);
      BOOST_TEST(upstream.outstanding_bytes() <= 64 * kib);
    }
    BOOST_TEST(upstream.outstanding_bytes() == 0U);
  }
}

/// Throws `std::bad_alloc` for about one request in `one_in`, on whatever thread it comes from.
class fitful_resource : public std::pmr::memory_resource {
 public:
  fitful_resource(std::pmr::memory_resource* upstream, std::uint64_t one_in)
      : upstream_(upstream), one_in_(one_in) {}
  [[nodiscard]] std::uint64_t failures() const { return failures_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if ((++requests_ * 0x9E3779B97F4A7C15U >> 33) % one_in_ == 0) {
      ++failures_;
      throw std::bad_alloc();
    }
    return upstream_->allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    upstream_->deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::pmr::memory_resource* upstream_;
  std::uint64_t one_in_;
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> failures_{0};
};

}  // namespace

BOOST_AUTO_TEST_SUITE(model)

BOOST_AUTO_TEST_CASE(default_options) {
  run_model({}, "defaults");
}
BOOST_AUTO_TEST_CASE(no_thread_caches) {
  run_model({.thread_cache_bytes = 0}, "no caches");
}
BOOST_AUTO_TEST_CASE(tiny_thread_caches_whose_classes_push_each_other_out) {
  run_model({.thread_cache_bytes = 600}, "tiny caches");
  run_model({.thread_cache_bytes = 8 * kib}, "small caches");
}
BOOST_AUTO_TEST_CASE(max_bytes_refuses_now_and_then) {
  run_model({.max_bytes = 512 * kib}, "max_bytes", true);
}
BOOST_AUTO_TEST_CASE(zero_on_free) {
  run_model({.zero_on_free = true}, "zero_on_free");
}
BOOST_AUTO_TEST_CASE(pass_through) {
  run_model({.pass_through = true}, "pass_through");
}
BOOST_AUTO_TEST_CASE(small_idle_budget) {
  run_model({.max_idle_bytes = 16 * kib}, "small budget");
  run_model({.max_idle_bytes = 0}, "no budget");
}
BOOST_AUTO_TEST_CASE(few_idle_blocks_per_bucket) {
  run_model({.max_idle_blocks_per_bucket = 0}, "none");
  run_model({.max_idle_blocks_per_bucket = 5}, "five");
}
BOOST_AUTO_TEST_CASE(small_chunks_and_small_buckets) {
  run_model({.max_blocks_per_chunk = 1, .largest_required_pool_block = 300, .count_operations = false},
            "small");
}

BOOST_AUTO_TEST_CASE(upstream_that_throws_on_any_thread_loses_nothing) {
  checking_resource checked;
  fitful_resource upstream(&checked, 3);
  {
    synchronized_pool_resource pool({.max_blocks_per_chunk = 4, .largest_required_pool_block = 20'000},
                                    &upstream);
    exchange shared;
    model_totals totals;
    run_threads(4, [&](std::size_t index) {
      random_numbers random(index + 7);
      std::vector<marked_block> mine;
      churn(pool, random, shared, mine, totals, 5'000);
      for (const marked_block& block : mine) {
        free_marked(pool, block);
        ++totals.deallocations;
      }
    });
    for (marked_block left; shared.take(left);) {
      free_marked(pool, left);
      ++totals.deallocations;
    }
    BOOST_TEST(totals.refusals != 0U);
    BOOST_TEST(accounts_fault(pool, checked) == "");
    BOOST_TEST(counted_operations(pool.statistics()).allocations == totals.allocations);
    BOOST_TEST(counted_operations(pool.statistics()).deallocations == totals.deallocations);
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
  }
  BOOST_TEST(upstream.failures() != 0U);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(changing_hands)

// Each thread frees what the one before it allocated.
BOOST_AUTO_TEST_CASE(a_ring_of_threads_frees_what_the_neighbour_allocated) {
  constexpr std::size_t threads = 5;
  constexpr std::size_t blocks = 400;
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  std::array<std::vector<marked_block>, threads> made;
  std::barrier turn(threads);
  run_threads(threads, [&](std::size_t index) {
    random_numbers random(index + 1);
    for (int round = 0; round < 20; ++round) {
      for (std::size_t i = 0; i < blocks; ++i) {
        made[index].push_back(allocate_marked(pool, random_bytes(random), 8));
      }
      turn.arrive_and_wait();
      std::vector<marked_block>& others = made[(index + 1) % threads];
      for (const marked_block& block : others) {
        free_marked(pool, block);
      }
      others.clear();
      turn.arrive_and_wait();
    }
  });
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}

// One thread only allocates and the other only frees, then the other way round: no growth in either
// direction, once the caches of both have grown as far as they like.
BOOST_AUTO_TEST_CASE(producer_and_consumer_trade_blocks_without_growth_in_both_directions) {
  constexpr std::size_t batch = 1'000;
  constexpr std::size_t turns = 50;  // of a thread as the producer
  checking_resource upstream;
  synchronized_pool_resource pool(&upstream);
  std::vector<marked_block> blocks;
  std::barrier turn(2);
  std::size_t held_after_warm_up = 0;
  run_threads(2, [&](std::size_t index) {
    for (std::size_t round = 0; round < 8 * turns; ++round) {
      const std::size_t producer = round / turns % 2;
      if (index == producer) {
        for (std::size_t i = 0; i < batch; ++i) {
          blocks.push_back(allocate_marked(pool, 100, 8));
        }
      }
      turn.arrive_and_wait();
      if (index != producer) {
        for (const marked_block& block : blocks) {
          free_marked(pool, block);
        }
        blocks.clear();
        if (round == 2 * turns - 1) {
          held_after_warm_up = upstream.outstanding_bytes();
        }
      }
      turn.arrive_and_wait();
    }
  });
  BOOST_TEST(upstream.peak_bytes() <= held_after_warm_up + 128 * kib);
  BOOST_TEST(upstream.peak_bytes() <= 2 * mib);  // 0.1 MiB are in use at a time
  BOOST_TEST(accounts_fault(pool, upstream) == "");
}

// mimalloc#1364: frees on a thread that never allocates grew 437 MiB to 1.8 GiB.
BOOST_AUTO_TEST_CASE(a_thread_that_only_frees_does_not_grow_memory) {
  constexpr std::size_t live_bytes = 5 * mib;  // at a time
  constexpr std::size_t rounds = 400;
  for (const std::size_t cache_bytes : {mib / 2, 8 * mib}) {
    checking_resource upstream;
    synchronized_pool_resource pool({.thread_cache_bytes = cache_bytes}, &upstream);
    std::size_t peak_after_warm_up = 0;
    std::vector<marked_block> blocks;
    std::barrier turn(2);
    run_threads(2, [&](std::size_t index) {
      for (std::size_t round = 0; round < rounds; ++round) {
        if (index == 0) {
          for (const std::size_t bytes : {64U, 1'000U, 20'000U, 200'000U}) {
            for (int i = 0; i < 20; ++i) {
              blocks.push_back(allocate_marked(pool, bytes, 16));
            }
          }
        }
        turn.arrive_and_wait();
        if (index == 1) {
          for (const marked_block& block : blocks) {
            free_marked(pool, block);
          }
          blocks.clear();
          if (round == rounds / 2) {
            peak_after_warm_up = upstream.peak_bytes();
          }
        }
        turn.arrive_and_wait();
      }
    });
    BOOST_TEST(upstream.peak_bytes() == peak_after_warm_up);
    // The thread that only allocates caches next to nothing.
    BOOST_TEST(upstream.peak_bytes() <= live_bytes + cache_bytes + 2 * mib);
    BOOST_TEST(accounts_fault(pool, upstream) == "");
  }
}

// jemalloc#2757: 2.5 MB were cached for each of 400 consumer threads.
BOOST_AUTO_TEST_CASE(caches_of_400_consumer_threads_are_bounded) {
  constexpr std::size_t consumers = 400;
  constexpr std::size_t cache_bytes = 16 * kib;
  checking_resource upstream;
  synchronized_pool_resource pool({.max_blocks_per_chunk = 1, .thread_cache_bytes = cache_bytes}, &upstream);
  std::vector<marked_block> blocks;
  for (std::size_t i = 0; i < consumers * 60; ++i) {
    blocks.push_back(allocate_marked(pool, 1 + i % 60 * 20, 1));
  }
  std::barrier quiet(consumers);
  run_threads(consumers, [&](std::size_t index) {
    for (std::size_t i = index * 60; i < (index + 1) * 60; ++i) {
      free_marked(pool, blocks[i]);
    }
    quiet.arrive_and_wait();
    if (index == 0) {
      pool.trim();  // with chunks of one block, all that is left idle lies in caches
      require(pool.statistics().idle_bytes <= consumers * cache_bytes,
              "a cache holds more than thread_cache_bytes");
      require(pool.statistics().overhead_bytes <= consumers * 8 * kib, "a cache itself is large");
    }
    quiet.arrive_and_wait();
  });
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() <= 64 * kib);  // ended threads hold nothing
}

// With default options, while the threads live: what they hold together is bounded, whatever each may.
BOOST_AUTO_TEST_CASE(idle_threads_hold_no_more_than_all_caches_may) {
  constexpr std::size_t threads = 400;
  constexpr std::size_t blocks_each = 60;
  for (const std::size_t total_bytes : {2 * mib, pool_options{}.thread_caches_total_bytes}) {
    checking_resource upstream;
    synchronized_pool_resource pool({.thread_caches_total_bytes = total_bytes}, &upstream);
    std::mutex one_by_one;  // or the live blocks of all would be the most of it
    std::barrier quiet(threads);
    run_threads(threads, [&](std::size_t index) {
      {
        const std::lock_guard guard(one_by_one);
        for (const std::size_t bytes : {64U, 1'000U, 6'000U, 30'000U}) {
          std::vector<marked_block> blocks;
          for (int round = 0; round < 2; ++round) {
            for (std::size_t i = 0; i < blocks_each; ++i) {
              blocks.push_back(allocate_marked(pool, bytes, 8));
            }
            while (blocks.size() > 1) {  // one stays, or the last free would give all of the size up
              free_marked(pool, blocks.back());
              blocks.pop_back();
            }
          }
          free_marked(pool, blocks.back());
        }
      }
      quiet.arrive_and_wait();
      if (index == 0) {
        pool.trim();  // what is left idle lies in caches, or beside what lies there
        std::size_t cached_bytes = 0;
        for (const auto& row : pool.statistics().buckets) {
          require(row.live_blocks == 0, "nothing is live");
          cached_bytes += row.depth * row.block_bytes;
        }
        require(cached_bytes != 0, "this test shows nothing");
        // Scattered blocks beside those in caches are counted as well: of each size at most a span for each.
        require(cached_bytes <= 2 * total_bytes, "caches hold more than they may together");
      }
      quiet.arrive_and_wait();
    });
    BOOST_TEST(accounts_fault(pool, upstream) == "");
  }
}

namespace {

const std::size_t page_bytes = cistern::detail::os_page_bytes();

/// Pages by their numbers, each once.
std::size_t resident_pages(std::vector<std::uintptr_t>& pages) {
  std::sort(pages.begin(), pages.end());
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
  return static_cast<std::size_t>(std::count_if(pages.begin(), pages.end(), [](std::uintptr_t page) {
    unsigned char is_resident = 0;  // and where nothing is mapped any more it stays so
    ::mincore(reinterpret_cast<void*>(page * page_bytes), page_bytes, &is_resident);
    return (is_resident & 1U) != 0;
  }));
}

/// What so many threads had lies idle, while they wait. `pages` are those of all their blocks.
void check_idle_threads(std::size_t threads, std::size_t block_bytes, synchronized_pool_resource& pool,
                        std::vector<std::uintptr_t>& pages) {
  pool.trim();
  const pool_statistics s = pool.statistics();
  require(s.in_use_bytes == 0 && s.idle_in_caches_bytes != 0, "this test shows nothing");
  require(s.idle_in_lists_bytes == 0 && s.idle_in_regions_bytes == 0, "a trim leaves caches alone");
  require(s.idle_in_caches_bytes <= threads * pool.options().thread_cache_bytes, "a cache has too much");
  require(s.idle_in_caches_bytes <= pool.options().thread_caches_total_bytes, "caches have too much");
  const std::size_t cached_blocks = s.idle_in_caches_bytes / block_bytes;
  const std::size_t resident = resident_pages(pages);
  require(resident <= 2 * cached_blocks, "pages without a cached block are resident");
}

}  // namespace

// At the same time, so that what one has lies between what others have. A few cached blocks hold their
// regions then; but after a trim, of all that blocks were in only those pages are resident in which they lie.
BOOST_AUTO_TEST_CASE(idle_threads_that_ran_together_hold_little_memory) {
  constexpr std::size_t threads = 32;
  constexpr std::size_t rounds = 2;
  constexpr std::size_t blocks_each = 2'000;
  constexpr std::size_t pages_each = rounds * blocks_each * 2;
  for (const std::size_t thread_cache_bytes : {64 * kib, pool_options{}.thread_cache_bytes}) {
    for (const std::size_t asked_bytes : {1'000U, 1'100U}) {
      const std::size_t block_bytes = synchronized_pool_resource::good_size(asked_bytes);
      synchronized_pool_resource pool({.thread_cache_bytes = thread_cache_bytes}, cistern::pages());
      // Reserved, lest they get addresses that the pool gives back meanwhile.
      std::vector<std::uintptr_t> pages;
      pages.reserve(threads * pages_each);
      std::mutex pages_lock;
      std::barrier turn(threads);
      run_threads(threads, [&](std::size_t index) {
        std::vector<std::uintptr_t> own_pages;
        own_pages.reserve(pages_each);
        std::vector<marked_block> blocks;
        blocks.reserve(blocks_each);
        for (std::size_t round = 0; round < rounds; ++round) {
          for (std::size_t i = 0; i < blocks_each; ++i) {
            blocks.push_back(allocate_marked(pool, block_bytes, 8));
          }
          turn.arrive_and_wait();
          for (const marked_block& block : blocks) {
            const auto begin = reinterpret_cast<std::uintptr_t>(block.data);
            own_pages.push_back(begin / page_bytes);
            own_pages.push_back((begin + block_bytes - 1) / page_bytes);
            free_marked(pool, block);
          }
          blocks.clear();
        }
        {
          const std::lock_guard guard(pages_lock);
          pages.insert(pages.end(), own_pages.begin(), own_pages.end());
        }
        turn.arrive_and_wait();
        if (index == 0) check_idle_threads(threads, block_bytes, pool, pages);
        turn.arrive_and_wait();
      });
      pool.check_invariants();
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(trimming)

// rpmalloc#116: trim can't reach the caches of other threads.
BOOST_AUTO_TEST_CASE(trim_reaches_other_threads_caches_at_their_next_slow_path) {
  // The other thread's next slow path is an allocation of a cached class, or of one that no cache serves.
  for (const std::size_t next_bytes : {std::size_t{48}, 300 * kib, 40 * mib}) {
    checking_resource upstream;
    synchronized_pool_resource pool({.max_blocks_per_chunk = 1}, &upstream);
    std::barrier turn(2);
    run_threads(2, [&](std::size_t index) {
      if (index == 0) {
        std::vector<marked_block> blocks;
        for (int i = 0; i < 50; ++i) {
          blocks.push_back(allocate_marked(pool, 1'000, 8));
        }
        for (const marked_block& block : blocks) {
          free_marked(pool, block);
        }
      }
      turn.arrive_and_wait();
      if (index == 1) {
        pool.trim();
        require(row_of(pool.statistics(), 1'024).depth != 0,
                "the cache is out of reach, or this test shows nothing");
      }
      turn.arrive_and_wait();
      if (index == 0) {
        pool.deallocate(pool.allocate(next_bytes), next_bytes);
        require(row_of(pool.statistics(), 1'024).depth == 0, "the pending trim was not honoured");
      }
      turn.arrive_and_wait();
    });
    BOOST_TEST(accounts_fault(pool, upstream) == "");
  }
}

BOOST_AUTO_TEST_CASE(a_new_thread_does_not_carry_out_trims_from_before_its_time) {
  checking_resource upstream;
  synchronized_pool_resource pool({.thread_cache_bytes = 64 * kib}, &upstream);
  pool.trim();
  std::vector<marked_block> blocks;
  for (int i = 0; i < 2'000; ++i) {
    blocks.push_back(allocate_marked(pool, 1'000, 8));
  }
  for (const marked_block& block : blocks) {
    free_marked(pool, block);
  }
  const std::uint64_t before = upstream.deallocations();
  for (int i = 0; i < 2; ++i) {  // a new cache, and then one taken over
    run_thread([&] { free_marked(pool, allocate_marked(pool, 50, 8)); });
  }
  BOOST_TEST(upstream.deallocations() == before);
}

namespace {

// Threads work, one trims, and one looks on.
void work_while_it_is_trimmed(synchronized_pool_resource& pool, model_totals& totals) {
  constexpr std::size_t workers = 3;
  exchange shared;
  std::atomic<std::size_t> working{workers};
  run_threads(workers + 2, [&](std::size_t index) {
    if (index < workers) {
      random_numbers random(index + 3);
      std::vector<marked_block> mine;
      churn(pool, random, shared, mine, totals, 10'000);
      for (const marked_block& block : mine) {
        free_marked(pool, block);
        ++totals.deallocations;
      }
      --working;
    } else if (index == workers) {
      for (std::size_t round = 0; working != 0; ++round) {
        pool.trim(round % 2 == 0 ? 0 : 100 * kib);
      }
    } else {
      std::uint64_t misses_before = 0;
      while (working != 0) {
        const pool_statistics s = pool.statistics();
        std::uint64_t misses = 0;
        for (const auto& row : s.buckets) {
          misses += row.misses;
          require(row.live_blocks < mib && row.depth < mib, "a count wrapped around");
          require(row.returned < 10 * mib && row.hits < 10 * mib, "a count wrapped around");
        }
        require(misses >= misses_before, "misses went down");
        misses_before = misses;
        require(s.in_use_bytes < 1024 * mib && s.idle_bytes < 1024 * mib, "a sum wrapped around");
      }
    }
  });
  for (marked_block left; shared.take(left);) {
    free_marked(pool, left);
    ++totals.deallocations;
  }
  BOOST_TEST(counted_operations(pool.statistics()).allocations == totals.allocations);
  BOOST_TEST(counted_operations(pool.statistics()).deallocations == totals.deallocations);
}

}  // namespace

BOOST_AUTO_TEST_CASE(trim_and_statistics_while_other_threads_work) {
  checking_resource upstream;
  synchronized_pool_resource pool({.thread_cache_bytes = 32 * kib}, &upstream);
  model_totals totals;
  work_while_it_is_trimmed(pool, totals);
  BOOST_TEST(accounts_fault(pool, upstream) == "");
  pool.trim();
  BOOST_TEST(upstream.outstanding_bytes() <= 64 * kib);
}

// Where a trim takes pages away between blocks that other threads take and free meanwhile.
BOOST_AUTO_TEST_CASE(trim_while_other_threads_work_over_pages) {
  synchronized_pool_resource pool({.thread_cache_bytes = 4 * kib}, cistern::pages());
  std::vector<marked_block> survivors;
  for (int i = 0; i < 20'000; ++i) {
    const marked_block block = allocate_marked(pool, 100, 8);
    if (i % 200 == 0) {
      survivors.push_back(block);
    } else {
      free_marked(pool, block);
    }
  }
  model_totals totals;
  totals.allocations += 20'000;
  totals.deallocations += 20'000 - survivors.size();
  work_while_it_is_trimmed(pool, totals);
  pool.trim();
  pool.check_invariants();
  for (const marked_block& block : survivors) free_marked(pool, block);
}

// Several threads were told of the same room, and all kept their block.
BOOST_AUTO_TEST_CASE(max_idle_bytes_holds_for_large_blocks_freed_at_once) {
  constexpr std::size_t threads = 8;
  constexpr std::size_t block_bytes = mib;
  checking_resource upstream;
  synchronized_pool_resource pool({.max_idle_bytes = 2 * block_bytes, .thread_cache_bytes = 0}, &upstream);
  std::barrier turn(threads);
  run_threads(threads, [&](std::size_t index) {
    for (int round = 0; round < 200; ++round) {
      void* block = pool.allocate(block_bytes);
      turn.arrive_and_wait();
      pool.deallocate(block, block_bytes);
      turn.arrive_and_wait();
      if (index == 0) {
        require(pool.statistics().idle_bytes <= 2 * block_bytes, "more is idle than max_idle_bytes");
      }
      turn.arrive_and_wait();
    }
  });
  BOOST_TEST(accounts_fault(pool, upstream) == "");
}

// A thread that loses the race for the last bytes asks for less instead of failing.
BOOST_AUTO_TEST_CASE(max_bytes_leaves_no_thread_without_its_fair_block) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t max_bytes = 256 * kib;
  constexpr std::size_t blocks_each = 40;  // of about 1 KiB: 160 KiB in all, so there is always enough
  checking_resource upstream;
  synchronized_pool_resource pool({.max_bytes = max_bytes, .thread_cache_bytes = 0}, &upstream);
  run_threads(threads, [&](std::size_t) {
    for (int round = 0; round < 100; ++round) {
      std::vector<marked_block> mine;
      for (std::size_t i = 0; i < blocks_each; ++i) {
        mine.push_back(allocate_marked(pool, 900, 8));  // an exception ends the program
      }
      for (const marked_block& block : mine) {
        free_marked(pool, block);
      }
    }
  });
  BOOST_TEST(upstream.peak_bytes() <= max_bytes);
  BOOST_TEST(accounts_fault(pool, upstream) == "");
}

BOOST_AUTO_TEST_SUITE_END()
