// mstress: short-lived threads with mixed sizes and lifetimes, which exchange blocks through a shared table.
//
// After the stress test that Daan Leijen describes for mimalloc ("Mimalloc: Free List Sharding in Action",
// 2019).
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/shape.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {
namespace {

constexpr std::size_t transfer_slots = 1000;
constexpr std::size_t allocations_per_thread = 6000;

using transfer_table = std::array<std::atomic<void*>, transfer_slots>;

bool with_chance(perf::random_source& random, std::size_t percent) {
  return random.below(100) < percent;
}

/// Mostly a few words; one in a hundred is a hundred times as large, one in ten thousand a thousand times.
void* any_block(perf::random_source& random) {
  std::size_t words = std::size_t{1} << random.below(6);
  const std::size_t lot = random.below(10'000);
  if (lot < 100) words *= 100;
  if (lot == 0) words *= 10;
  return marked(std::calloc(words, sizeof(std::uint64_t)));
}

/// A growing table of blocks, itself kept by malloc and realloc.
class block_table {
 public:
  ~block_table() {
    while (count_ > 0) give_back(data_[--count_]);
    std::free(data_);
  }
  block_table() = default;
  block_table(const block_table&) = delete;
  block_table& operator=(const block_table&) = delete;

  void add(void* block) {
    if (count_ == capacity_) grow();
    data_[count_++] = block;
  }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  void*& any(perf::random_source& random) { return data_[random.below(count_)]; }

 private:
  void grow() {
    capacity_ = capacity_ == 0 ? 64 : capacity_ * 2;
    void* const grown = std::realloc(static_cast<void*>(data_), capacity_ * sizeof(void*));
    if (grown == nullptr) fail("out of memory");
    data_ = static_cast<void**>(grown);
  }

  void** data_ = nullptr;
  std::size_t count_ = 0;
  std::size_t capacity_ = 0;
};

/// Returns how many blocks it allocated: half pass through changing hands, half stay to the thread's end.
std::uint64_t one_life(transfer_table& transfer, std::uint64_t seed) {
  perf::random_source random(seed);
  block_table passing;
  block_table staying;
  std::size_t to_pass = allocations_per_thread;
  std::size_t to_stay = allocations_per_thread / 2;
  while (to_pass > 0 || to_stay > 0) {
    if (to_stay == 0 || (with_chance(random, 50) && to_pass > 0)) {
      passing.add(any_block(random));
      --to_pass;
    } else {
      staying.add(any_block(random));
      --to_stay;
    }
    if (!passing.empty() && with_chance(random, 66)) {
      void*& block = passing.any(random);
      give_back(block);
      block = nullptr;
    }
    if (!passing.empty() && with_chance(random, 25)) {
      void*& block = passing.any(random);
      // acq_rel: whoever takes a block out sees what was written to it before it was put in.
      block = transfer[random.below(transfer_slots)].exchange(block, std::memory_order_acq_rel);
    }
  }
  return allocations_per_thread + allocations_per_thread / 2;
}

}  // namespace

measured run_mstress(const parameters& how) {
  const std::size_t generations = how.rounds(150);
  transfer_table transfer{};
  perf::random_source random(how.seed);
  std::atomic<std::uint64_t> operations{0};
  const auto start = perf::clock::now();
  for (std::size_t generation = 0; generation < generations; ++generation) {
    {
      std::vector<std::jthread> team;
      for (unsigned index = 0; index < how.threads; ++index) {
        team.emplace_back([&, seed = random.next()] { operations += one_life(transfer, seed); });
      }
    }
    const bool last = generation + 1 == generations;
    for (auto& slot : transfer) {
      if (last || with_chance(random, 50)) give_back(slot.exchange(nullptr));
    }
  }
  return {.operations = operations, .elapsed = perf::clock::now() - start};
}

}  // namespace malloc_bench
