#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "support/keep.hpp"
#include "support/random.hpp"
#include "support/ring.hpp"
#include "support/slots.hpp"
#include "support/workload.hpp"

namespace perf {
namespace {

constexpr std::size_t kib = 1024;

std::string with_threads(std::string name, unsigned threads) {
  return std::move(name) + '/' + std::to_string(threads);
}

constexpr auto nothing = [](unsigned) {};

/// Runs `prepare(index)` on each of `threads` threads, then, once all are ready, `work(index, batches)`,
/// which is timed, then `finish(index)`. A batch is so many operations of one thread. The first thread is the
/// benchmark's own: its clock runs from its start of the work to the last one's end.
template <class Prepare, class Work, class Finish>
void time_together(benchmark::State& state, unsigned threads, std::size_t operations, Prepare prepare,
                   Work work, Finish finish) {
  const std::size_t batches = (static_cast<std::size_t>(state.max_iterations) + operations - 1) / operations;
  std::barrier together(static_cast<std::ptrdiff_t>(threads));
  std::vector<std::jthread> team;
  for (unsigned index = 1; index < threads; ++index) {
    team.emplace_back([&, index] {
      prepare(index);
      together.arrive_and_wait();
      work(index, batches);
      together.arrive_and_wait();
      finish(index);
    });
  }
  prepare(0);
  together.arrive_and_wait();
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(batches * operations))) {
    work(0, batches);
    together.arrive_and_wait();
  }
  finish(0);
}

/// Every thread allocates and frees blocks of 64 bytes, none of which leaves it.
workload pairs(unsigned threads) {
  return {.name = with_threads("thread-pairs", threads),
          .operation = "allocate + deallocate, each thread",
          .threads = threads,
          .memory_operations = 100'000,
          .run = [threads](benchmark::State& state, std::pmr::memory_resource* resource) {
            const auto work = [resource](std::size_t pairs) {
              const company others(resource, 64);
              for (std::size_t i = 0; i < pairs; ++i) {
                void* block = resource->allocate(64);
                touch(block);
                resource->deallocate(block, 64);
              }
            };
            time_together(
                state, threads, 1000, [&](unsigned) { work(1000); },
                [&](unsigned, std::size_t batches) { work(batches * 1000); }, nothing);
          }};
}

/// Larson and Krishnan's server: each thread replaces random blocks in a table of 1,000, and every 1,000
/// operations swaps its table with one waiting in its neighbour's mailbox, so that blocks are freed by
/// threads that didn't allocate them.
workload larson(unsigned threads) {
  return {.name = with_threads("larson", threads),
          .operation = "deallocate + allocate, each thread",
          .threads = threads,
          .memory_operations = 200'000,
          .run = [threads](benchmark::State& state, std::pmr::memory_resource* resource) {
            std::vector<std::vector<slot>> tables(std::size_t{2} * threads, std::vector<slot>(1000));
            std::vector<std::atomic<std::vector<slot>*>> mailboxes(threads);
            std::vector<random_source> randoms;
            for (unsigned i = 0; i < threads; ++i) randoms.emplace_back(31 + i);
            const auto prepare = [&](unsigned index) {
              for (auto* table : {&tables[index], &tables[threads + index]}) {
                fill_all(resource, *table, randoms[index], small_sizes);
              }
              mailboxes[index].store(&tables[threads + index]);
            };
            const auto work = [&](unsigned index, std::size_t batches) {
              random_source random = randoms[index];
              std::vector<slot>* mine = &tables[index];
              for (std::size_t i = 0; i < batches; ++i) {
                for (int j = 0; j < 1000; ++j) replace_one(resource, *mine, random, small_sizes);
                mine = mailboxes[(index + 1) % threads].exchange(mine);
              }
            };
            const auto finish = [&](unsigned index) {
              empty_all(resource, tables[index]);
              empty_all(resource, tables[threads + index]);
            };
            time_together(state, threads, 1000, prepare, work, finish);
          }};
}

/// Each thread replaces random ones of its own `live` blocks.
workload thread_replace(std::string name, unsigned threads, std::size_t live, size_range sizes) {
  return {.name = with_threads("thread-replace/" + std::move(name), threads),
          .operation = "deallocate + allocate, each thread",
          .threads = threads,
          .memory_operations = 100'000,
          .run = [=](benchmark::State& state, std::pmr::memory_resource* resource) {
            std::vector<std::vector<slot>> tables(threads, std::vector<slot>(live));
            const auto replace = [&](unsigned index, std::size_t times) {
              random_source random(35 + index);
              for (std::size_t i = 0; i < times; ++i) replace_one(resource, tables[index], random, sizes);
            };
            const auto prepare = [&](unsigned index) {
              random_source random(36 + index);
              fill_all(resource, tables[index], random, sizes);
              replace(index, 4 * live);
            };
            time_together(
                state, threads, 1000, prepare,
                [&](unsigned index, std::size_t batches) { replace(index, batches * 1000); },
                [&](unsigned index) { empty_all(resource, tables[index]); });
          }};
}

/// Each repetition starts the threads anew; each allocates 500 blocks of up to 512 bytes, replaces 500,
/// frees all, and ends.
workload come_and_go(unsigned threads) {
  return {.name = with_threads("come-and-go", threads),
          .operation = "allocate + deallocate, each thread (with its start and end)",
          .threads = threads,
          .memory_operations = 50'000,
          .run = [threads](benchmark::State& state, std::pmr::memory_resource* resource) {
            const auto life = [resource](unsigned index) {
              random_source random(33 + index);
              std::vector<slot> slots(500);
              fill_all(resource, slots, random, small_sizes);
              for (std::size_t i = 0; i < slots.size(); ++i)
                replace_one(resource, slots, random, small_sizes);
              empty_all(resource, slots);
            };
            time_batches(state, 1000, [&] {
              std::vector<std::jthread> team;
              for (unsigned index = 0; index < threads; ++index) team.emplace_back(life, index);
            });
          }};
}

/// Half of the threads fill cells of bounded queues, each for one of the other half, which empties them. A
/// cell has so many operations, a batch so many cells.
template <class Cell, std::size_t cells, class Fill, class Empty>
workload handed_on(workload what, std::size_t operations, std::size_t batch, std::size_t warm_up_cells,
                   std::uint64_t seed, Fill fill_cell, Empty empty_cell) {
  what.run = [=, threads = what.threads](benchmark::State& state, std::pmr::memory_resource* resource) {
    using queue = ring<Cell, cells>;
    std::vector<std::unique_ptr<queue>> queues;
    for (unsigned i = 0; i < threads / 2; ++i) queues.push_back(std::make_unique<queue>());
    const auto exchange = [&](unsigned index, std::size_t count) {
      queue& line = *queues[index / 2];
      random_source random(seed + index);
      for (std::size_t i = 0; i < count; ++i) {
        if (index % 2 == 0) {
          fill_cell(line.begin_push(), resource, random);
          line.end_push();
        } else {
          empty_cell(line.begin_pop(), resource);
          line.end_pop();
        }
      }
    };
    time_together(
        state, threads, batch * operations, [&](unsigned index) { exchange(index, warm_up_cells); },
        [&](unsigned index, std::size_t batches) { exchange(index, batches * batch); }, nothing);
  };
  return what;
}

/// A stream of blocks of 16 to 256 bytes.
workload producer_consumer(unsigned threads) {
  using cell = std::array<slot, 64>;
  return handed_on<cell, 64>(
      {.name = with_threads("producer-consumer", threads),
       .operation = "block allocated, passed on, deallocated",
       .threads = threads,
       .memory_operations = 200 * 16 * 64},
      64, 16, 256, 32,
      [](cell& places, std::pmr::memory_resource* resource, random_source& random) {
        for (slot& place : places) fill(resource, place, 16 + random.below(241));
      },
      [](const cell& places, std::pmr::memory_resource* resource) {
        for (const slot& place : places) resource->deallocate(place.block, place.bytes);
      });
}

/// Maps of 200 strings, built by one and destroyed by the other.
workload handed_over(unsigned threads) {
  using table = std::pmr::unordered_map<std::uint64_t, std::pmr::string>;
  constexpr std::size_t elements = 200;
  return handed_on<std::optional<table>, 8>(
      {.name = with_threads("handed-over", threads),
       .operation = "element built, passed on, destroyed",
       .threads = threads,
       .memory_operations = 100 * 200},
      elements, 1, 16, 34,
      [](std::optional<table>& place, std::pmr::memory_resource* resource, random_source& random) {
        table& built = place.emplace(resource);
        for (std::size_t j = 0; j < elements; ++j) {
          built.try_emplace(random.next(), 16 + random.below(100), 'x');
        }
      },
      [](std::optional<table>& place, std::pmr::memory_resource*) { place.reset(); });
}

}  // namespace

std::vector<workload> threaded_workloads() {
  const unsigned hardware = std::max(1U, std::thread::hardware_concurrency());
  std::vector<workload> all;
  for (const unsigned threads : std::set{1U, 2U, hardware}) {
    all.push_back(pairs(threads));
    all.push_back(larson(threads));
    all.push_back(come_and_go(threads));
    all.push_back(thread_replace("1000x8B-4KiB", threads, 1000, {8, 4 * kib}));
    all.push_back(thread_replace("500x16B-32KiB", threads, 500, {16, 32 * kib}));
    all.push_back(thread_replace("100x1-256KiB", threads, 100, {kib, 256 * kib}));
    if (threads == 1) continue;  // the others need a partner
    all.push_back(producer_consumer(threads / 2 * 2));
    all.push_back(handed_over(threads / 2 * 2));
  }
  return all;
}

}  // namespace perf
