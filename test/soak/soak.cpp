// A long life of a pool: sizes, threads and lifetimes change from phase to phase, as long as asked. After
// each phase, trimmed, the memory of the process stays near what is live, and all accounts are exact.
//
//   soak [--minutes M | --phases N] [--megabytes MB] [--seed S] [--csv FILE]     plot.py draws the file
#include <cistern/detail/base/assert.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/synchronized_pool_resource.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <memory_resource>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../support/pool_accounts.hpp"
#include "../support/sanitizers.hpp"
#include <unistd.h>

namespace {

using cistern::pool_statistics;
using cistern::synchronized_pool_resource;

/// A checked build guards the rest of each block, and so takes larger ones.
constexpr double most_held_per_live = cistern::detail::checked_build ? 1.5 : 1.3;
/// What little needs, too: for each size class a span that isn't full, and what threads leave in the process.
constexpr std::size_t spared_bytes = std::size_t{4} << 20;
/// Less than that isn't judged: as much may lie in the caches of threads, and leaves holes where it was.
constexpr std::size_t least_judged_bytes = std::size_t{48} << 20;

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "soak: " << what << '\n';
  std::exit(1);
}

struct block {
  std::byte* ptr;
  std::size_t bytes;
};
/// In pages of its own, so that it is known what of the process isn't the pool's.
using block_list = std::pmr::vector<block>;

/// What is asked for in a phase, and for how long it lives.
struct phase {
  std::size_t smallest_bytes;
  std::size_t largest_bytes;
  std::size_t live_bytes;  ///< Of all threads together.
  unsigned threads;
  unsigned lifetime;  ///< 0: the oldest goes first; 1: the youngest; 2: any.
};

phase next_phase(std::mt19937_64& random, std::size_t most_live_bytes) {
  const std::size_t smallest = std::size_t{16} << random() % 8;
  return {.smallest_bytes = smallest,
          .largest_bytes = smallest << (1 + random() % 9),
          .live_bytes = most_live_bytes / (1 + random() % 4),
          .threads = static_cast<unsigned>(1 + random() % 8),
          .lifetime = static_cast<unsigned>(random() % 3)};
}

/// Blocks that belong to no thread: those of the phase before, which the next one frees.
class common_blocks {
 public:
  explicit common_blocks(block_list blocks) : blocks_(std::move(blocks)) {}
  [[nodiscard]] std::size_t size() {
    const std::scoped_lock guard(lock_);
    return blocks_.size();
  }
  void forget() { block_list(cistern::pages()).swap(blocks_); }
  /// One of them; null where there is none.
  block take(std::uint64_t number) {
    const std::scoped_lock guard(lock_);
    if (blocks_.empty()) return {nullptr, 0};
    std::swap(blocks_[number % blocks_.size()], blocks_.back());
    const block one = blocks_.back();
    blocks_.pop_back();
    return one;
  }

 private:
  std::mutex lock_;
  block_list blocks_;
};

struct operations {
  std::uint64_t allocations = 0;
  std::uint64_t deallocations = 0;
};

/// One thread of a phase.
class worker {
 public:
  worker(synchronized_pool_resource& pool, common_blocks& before, const phase& now, std::uint64_t seed)
      : pool_(pool), before_(before), phase_(now), random_(seed) {}

  // Of the blocks of the phase before a tenth lives on, here and there, until the next one is at its height.
  void end_phase_before() { free_before(before_.size() / 10); }
  void run() {
    const std::size_t share = phase_.live_bytes / phase_.threads;
    while (live_bytes_ < share) allocate();
    for (std::size_t left = 2 * own_.size(); left != 0; --left) {
      free_one();
      while (live_bytes_ < share) allocate();
    }
    free_before(0);
  }

  void leave_blocks_to(block_list& list) {
    list.insert(list.end(), own_.begin() + static_cast<std::ptrdiff_t>(first_), own_.end());
  }
  operations done;

 private:
  void free_before(std::size_t keep) {
    while (before_.size() > keep) {
      const block old = before_.take(random_());
      if (old.ptr == nullptr) return;
      give_back(old);
    }
  }
  void allocate() {
    const double span =
        std::log2(static_cast<double>(phase_.largest_bytes) / static_cast<double>(phase_.smallest_bytes));
    const double power = std::uniform_real_distribution<double>(0, span)(random_);
    const auto bytes =
        static_cast<std::size_t>(static_cast<double>(phase_.smallest_bytes) * std::exp2(power));
    auto* const ptr = static_cast<std::byte*>(pool_.allocate(bytes));
    std::memset(ptr, std::to_integer<int>(mark(ptr)), bytes);
    own_.push_back({ptr, bytes});
    live_bytes_ += bytes;
    ++done.allocations;
  }
  void free_one() {
    if (phase_.lifetime == 0) {
      live_bytes_ -= own_[first_].bytes;
      give_back(own_[first_++]);
      return;
    }
    if (phase_.lifetime == 2) std::swap(own_[first_ + random_() % (own_.size() - first_)], own_.back());
    live_bytes_ -= own_.back().bytes;
    give_back(own_.back());
    own_.pop_back();
  }
  void give_back(const block& one) {
    if (one.ptr[0] != mark(one.ptr) || one.ptr[one.bytes - 1] != mark(one.ptr))
      fail("a block's content has changed");
    pool_.deallocate(one.ptr, one.bytes);
    ++done.deallocations;
  }
  static std::byte mark(const std::byte* ptr) {
    return static_cast<std::byte>(reinterpret_cast<std::uintptr_t>(ptr) >> 4 | 1);
  }

  synchronized_pool_resource& pool_;
  common_blocks& before_;
  const phase& phase_;
  std::mt19937_64 random_;
  block_list own_{cistern::pages()};
  std::size_t first_ = 0;
  std::size_t live_bytes_ = 0;
};

template <class Step>
void run_threads(std::deque<worker>& workers, Step step) {
  std::vector<std::thread> threads;
  for (worker& each : workers) threads.emplace_back([&each, step] { step(each); });
  for (std::thread& each : threads) each.join();
}

/// Pages of the process that are in memory, but for those of files.
std::size_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::size_t all = 0;
  std::size_t resident = 0;
  std::size_t shared = 0;
  in >> all >> resident >> shared;
  return (resident - shared) * static_cast<std::size_t>(::getpagesize());
}

void check_accounts(const synchronized_pool_resource& pool, const block_list& live, const operations& done) {
  pool.check_invariants();
  const pool_statistics s = pool.statistics();
  const cistern::test_support::operations counted = cistern::test_support::counted_operations(s);
  if (counted.allocations != done.allocations || counted.deallocations != done.deallocations) {
    fail("the pool has counted other operations than there were");
  }
  if (s.in_use_bytes + s.idle_bytes + s.overhead_bytes != s.upstream_bytes)
    fail("the pool's bytes don't add up");
  std::size_t blocks = s.oversize.live_blocks;
  for (const cistern::bucket_statistics& row : s.buckets) blocks += row.live_blocks;
  if (blocks != live.size()) fail("the pool has counted other blocks than there are");
}

struct arguments {
  std::uint64_t minutes = 0;
  std::uint64_t phases = 10;
  std::uint64_t megabytes = 256;
  std::uint64_t seed = 1;
  std::string csv;
};

arguments parse(int count, char** words) {
  arguments parsed;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = words[i];
    const std::string value = words[i + 1];
    if (name == "--csv") {
      parsed.csv = value;
    } else if (std::uint64_t* const number = name == "--minutes"     ? &parsed.minutes
                                             : name == "--phases"    ? &parsed.phases
                                             : name == "--megabytes" ? &parsed.megabytes
                                             : name == "--seed"      ? &parsed.seed
                                                                     : nullptr;
               number != nullptr && value.find_first_not_of("0123456789") == std::string::npos) {
      *number = std::stoull(value);
    } else {
      fail("what is " + std::string(name) + " " + value + "?");
    }
  }
  if (count % 2 == 0) fail("a value is missing");
  if (parsed.minutes != 0) parsed.phases = UINT64_MAX;
  return parsed;
}

}  // namespace

int main(int count, char** words) {
  const arguments asked = parse(count, words);
  std::ofstream csv;
  if (!asked.csv.empty()) {
    csv.open(asked.csv);
    if (!csv) fail("can't write " + asked.csv);
  }
  std::ostream& out = asked.csv.empty() ? std::cout : csv;
  out << "seconds,phase,threads,smallest,largest,live_bytes,before_trim_bytes,held_bytes,in_spans_bytes,"
         "upstream_bytes\n";

  const std::size_t most_live_bytes = asked.megabytes << 20;
  std::mt19937_64 random(asked.seed);
  const std::size_t bytes_at_first = resident_bytes();
  synchronized_pool_resource pool({}, cistern::pages());
  operations done;
  block_list live(cistern::pages());
  double worst = 0;
  int judged = 0;
  const auto started = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  };
  for (std::uint64_t number = 0; number < asked.phases; ++number) {
    if (asked.minutes != 0 && seconds() > 60.0 * static_cast<double>(asked.minutes)) break;
    const phase now = next_phase(random, most_live_bytes);
    common_blocks before(std::move(live));
    std::deque<worker> workers;
    for (unsigned i = 0; i < now.threads; ++i) workers.emplace_back(pool, before, now, random());
    run_threads(workers, [](worker& each) { each.end_phase_before(); });
    pool.trim();
    run_threads(workers, [](worker& each) { each.run(); });
    live.clear();
    for (worker& each : workers) {
      each.leave_blocks_to(live);
      done.allocations += each.done.allocations;
      done.deallocations += each.done.deallocations;
    }
    workers.clear();
    std::size_t live_bytes = 0;
    for (const block& each : live) live_bytes += each.bytes;
    check_accounts(pool, live, done);
    const std::size_t before_trim_bytes = pool.statistics().upstream_bytes;
    pool.trim();
    check_accounts(pool, live, done);
    // What the pool holds of the process: all but what was there before, and the list of the live blocks.
    before.forget();
    const std::size_t beside_bytes = bytes_at_first + live.capacity() * sizeof(block);
    const std::size_t resident = resident_bytes();
    const std::size_t held_bytes = resident - std::min(resident, beside_bytes);
    out << seconds() << ',' << number << ',' << now.threads << ',' << now.smallest_bytes << ','
        << now.largest_bytes << ',' << live_bytes << ',' << before_trim_bytes << ',' << held_bytes << ','
        << pool.statistics().idle_in_spans_bytes << ',' << pool.statistics().upstream_bytes << '\n';
    out.flush();
    if (live_bytes < least_judged_bytes) continue;
    ++judged;
    worst = std::max(worst, static_cast<double>(held_bytes) / static_cast<double>(live_bytes + spared_bytes));
    if (!cistern::test_support::sanitized && worst > most_held_per_live) {
      fail("phase " + std::to_string(number) + ": " + std::to_string(held_bytes) + " bytes are held for " +
           std::to_string(live_bytes) + " that are live");
    }
  }
  for (const block& each : live) pool.deallocate(each.ptr, each.bytes);
  done.deallocations += live.size();
  live.clear();
  check_accounts(pool, live, done);
  pool.trim();
  if (pool.statistics().in_use_bytes != 0) fail("blocks are in use that nobody has");
  std::cerr << "soak: " << done.allocations << " allocations in " << seconds() << " s, held at most " << worst
            << " times what was live, judged after " << judged << " phases\n";
  return 0;
}
