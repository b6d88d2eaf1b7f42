// rptest: every thread frees and allocates in bursts over a wide range of sizes, and hands some blocks to a
// neighbour.
//
// After M. Jansson's rpmalloc-benchmark (2017), in its mode with sizes that fall off towards the largest and
// with blocks freed by other threads.
#include <atomic>
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/shape.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {
namespace {

constexpr std::size_t blocks_per_thread = 2000;
constexpr std::size_t blocks_per_burst = 400;
constexpr std::size_t handed_over_per_burst = 100;
constexpr unsigned most_bursts_waiting = 16;  // or the peak memory would be a matter of the scheduler's mood
constexpr std::size_t smallest_bytes = 16;
constexpr std::size_t largest_bytes = 16'000;

/// What a neighbour left to be freed: a list that is linked through the blocks behind their marks.
struct alignas(64) mailbox {
  std::atomic<void*> first{nullptr};
  std::atomic<unsigned> bursts_waiting{0};
};

void*& next_of(void* block) {
  return *(static_cast<void**>(block) + 1);
}

void hand_over(mailbox& to, void* block) {
  if (block == nullptr) return;
  void* first = to.first.load(std::memory_order_relaxed);
  do {
    next_of(block) = first;
    // release: pairs with the acquire of empty(), which reads the links.
  } while (
      !to.first.compare_exchange_weak(first, block, std::memory_order_release, std::memory_order_relaxed));
}

void empty(mailbox& box) {
  // relaxed: only a rough bound.
  box.bursts_waiting.store(0, std::memory_order_relaxed);
  // acquire: pairs with the release of hand_over.
  void* block = box.first.exchange(nullptr, std::memory_order_acquire);
  while (block != nullptr) {
    void* const next = next_of(block);
    give_back(block);
    block = next;
  }
}

/// Falls off with the cube: half of the blocks are below 2 KiB.
std::size_t any_size(perf::random_source& random) {
  const double uniform = static_cast<double>(random.next() >> 40U) * 0x1p-24;
  return smallest_bytes +
         static_cast<std::size_t>(uniform * uniform * uniform * (largest_bytes - smallest_bytes));
}

struct worker {
  std::vector<void*> blocks = std::vector<void*>(blocks_per_thread);
  mailbox box;
};

void burst(worker& self, worker& neighbour, perf::random_source& random) {
  empty(self.box);
  const bool room =
      neighbour.box.bursts_waiting.fetch_add(1, std::memory_order_relaxed) < most_bursts_waiting;
  const std::size_t start = random.below(blocks_per_thread);
  const std::size_t stride = 1 + 2 * random.below(8);
  for (std::size_t done = 0; done < blocks_per_burst; ++done) {
    void*& block = self.blocks[(start + done * stride) % blocks_per_thread];
    if (room && done < handed_over_per_burst) {
      hand_over(neighbour.box, block);
    } else {
      give_back(block);
    }
    block = nullptr;
  }
  for (std::size_t done = 0; done < blocks_per_burst; ++done) {
    void*& block = self.blocks[(start + done * stride) % blocks_per_thread];
    if (block == nullptr) block = obtain(any_size(random));
  }
}

}  // namespace

measured run_rptest(const parameters& how) {
  const std::size_t bursts = how.rounds(4000);
  std::vector<worker> workers(how.threads);
  const auto prepare = [&](unsigned index) {
    perf::random_source random(how.seed * 7 + index);
    for (void*& block : workers[index].blocks) block = obtain(any_size(random));
  };
  const auto work = [&](unsigned index) {
    perf::random_source random(how.seed + index);
    for (std::size_t done = 0; done < bursts; ++done) {
      burst(workers[index], workers[(index + 1) % how.threads], random);
    }
  };
  const auto finish = [&](unsigned index) {
    for (void* block : workers[index].blocks) give_back(block);
    empty(workers[index].box);
  };
  const auto elapsed = perf::time_together(how.threads, prepare, work, finish);
  return {.operations = std::uint64_t{how.threads} * bursts * blocks_per_burst, .elapsed = elapsed};
}

}  // namespace malloc_bench
