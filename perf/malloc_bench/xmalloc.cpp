// xmalloc: some threads only allocate, as many others only free; batches of blocks go through a shared queue.
//
// After C. Lever, D. Boreham, "malloc() Performance in a Multithreaded Linux Environment", USENIX 2000, and
// the program known as xmalloc-test.
#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>

#include "malloc_bench/block.hpp"
#include "malloc_bench/shape.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {
namespace {

constexpr std::array<std::size_t, 12> sizes{16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256};
constexpr std::size_t most_waiting = 64;

/// Comes from malloc itself, like all that it carries.
struct batch {
  batch* next = nullptr;
  std::array<void*, 512> blocks{};
};

class batch_queue {
 public:
  void push(batch* one) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ < most_waiting; });
    one->next = first_;
    first_ = one;
    ++waiting_;
    changed_.notify_all();
  }

  batch* pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ > 0; });
    batch* const one = first_;
    first_ = one->next;
    --waiting_;
    changed_.notify_all();
    return one;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  batch* first_ = nullptr;
  std::size_t waiting_ = 0;
};

batch* filled(perf::random_source& random) {
  void* const memory = std::malloc(sizeof(batch));
  if (memory == nullptr) fail("out of memory");
  auto* const one = new (memory) batch;
  for (void*& block : one->blocks) block = obtain(sizes[random.below(sizes.size())]);
  return one;
}

void free_all(batch* one) {
  for (void* block : one->blocks) give_back(block);
  std::free(one);
}

}  // namespace

measured run_xmalloc(const parameters& how) {
  const unsigned pairs = std::max(1U, how.threads / 2);
  const std::size_t batches = how.rounds(10'000);
  batch_queue queue;
  const auto work = [&](unsigned index) {
    perf::random_source random(how.seed + index);
    const bool allocates = index < pairs;
    for (std::size_t done = 0; done < batches; ++done) {
      if (allocates) {
        queue.push(filled(random));
      } else {
        free_all(queue.pop());
      }
    }
  };
  const auto elapsed = perf::time_together(2 * pairs, work);
  return {.operations = std::uint64_t{pairs} * batches * (std::tuple_size_v<decltype(batch::blocks)> + 1),
          .elapsed = elapsed};
}

}  // namespace malloc_bench
