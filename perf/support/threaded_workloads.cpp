#include <algorithm>
#include <array>
#include <atomic>
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
#include "support/thread_team.hpp"
#include "support/workload.hpp"

namespace perf {
namespace {

constexpr std::size_t kib = 1024;

std::string with_threads(std::string name, unsigned threads) {
  return std::move(name) + '/' + std::to_string(threads);
}

constexpr auto nothing = [](unsigned) {};

/// Every thread allocates and frees blocks of 64 bytes, none of which leaves it.
workload pairs(unsigned threads) {
  return {.name = with_threads("thread-pairs", threads),
          .operation = "allocate + deallocate, each thread",
          .threads = threads,
          .memory_repetitions = 100,
          .run = [threads](std::pmr::memory_resource* resource, std::size_t repetitions) {
            const auto work = [resource](std::size_t pairs) {
              const company others(resource, 64);
              for (std::size_t i = 0; i < pairs; ++i) {
                void* block = resource->allocate(64);
                touch(block);
                resource->deallocate(block, 64);
              }
            };
            const auto elapsed = time_together(
                threads, [&](unsigned) { work(1000); }, [&](unsigned) { work(repetitions * 1000); }, nothing);
            return measurement{elapsed, repetitions * 1000};
          }};
}

/// Larson and Krishnan's server: each thread replaces random blocks in a table of 1,000, and every 1,000
/// operations swaps its table with one waiting in its neighbour's mailbox, so that blocks are freed by
/// threads that didn't allocate them.
workload larson(unsigned threads) {
  return {.name = with_threads("larson", threads),
          .operation = "deallocate + allocate, each thread",
          .threads = threads,
          .memory_repetitions = 200,
          .run = [threads](std::pmr::memory_resource* resource, std::size_t repetitions) {
            constexpr std::size_t max_bytes = 512;
            std::vector<std::vector<slot>> tables(std::size_t{2} * threads, std::vector<slot>(1000));
            std::vector<std::atomic<std::vector<slot>*>> mailboxes(threads);
            std::vector<random_source> randoms;
            for (unsigned i = 0; i < threads; ++i) randoms.emplace_back(31 + i);
            const auto prepare = [&](unsigned index) {
              for (auto* table : {&tables[index], &tables[threads + index]}) {
                fill_all(resource, *table, randoms[index], max_bytes);
              }
              mailboxes[index].store(&tables[threads + index]);
            };
            const auto work = [&](unsigned index) {
              random_source random = randoms[index];
              std::vector<slot>* mine = &tables[index];
              for (std::size_t i = 0; i < repetitions; ++i) {
                for (int j = 0; j < 1000; ++j) replace_one(resource, *mine, random, max_bytes);
                mine = mailboxes[(index + 1) % threads].exchange(mine);
              }
            };
            const auto finish = [&](unsigned index) {
              empty_all(resource, tables[index]);
              empty_all(resource, tables[threads + index]);
            };
            return measurement{time_together(threads, prepare, work, finish), repetitions * 1000};
          }};
}

/// Each thread replaces random ones of its own `live` blocks.
workload thread_replace(std::string name, unsigned threads, std::size_t live, size_range sizes) {
  return {.name = with_threads("thread-replace/" + std::move(name), threads),
          .operation = "deallocate + allocate, each thread",
          .threads = threads,
          .memory_repetitions = 100,
          .group = "replacing in threads",
          .run = [=](std::pmr::memory_resource* resource, std::size_t repetitions) {
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
            const std::size_t times = repetitions * 1000;
            const auto elapsed = time_together(
                threads, prepare, [&](unsigned index) { replace(index, times); },
                [&](unsigned index) { empty_all(resource, tables[index]); });
            return measurement{elapsed, times};
          }};
}

/// Half of the threads allocate, the other half free: a stream of blocks of 16 to 256 bytes from each
/// producer to its consumer, 64 to a queue cell.
workload producer_consumer(unsigned threads) {
  return {.name = with_threads("producer-consumer", threads),
          .operation = "block allocated, passed on, deallocated",
          .threads = threads,
          .memory_repetitions = 200,
          .run = [threads](std::pmr::memory_resource* resource, std::size_t repetitions) {
            using queue = ring<std::array<slot, 64>, 64>;
            constexpr std::size_t cells_per_repetition = 16;
            constexpr std::size_t warm_up_cells = 256;
            std::vector<std::unique_ptr<queue>> queues;
            for (unsigned i = 0; i < threads / 2; ++i) queues.push_back(std::make_unique<queue>());
            const auto exchange = [&](unsigned index, std::size_t cells) {
              queue& line = *queues[index / 2];
              random_source random(32 + index);
              for (std::size_t i = 0; i < cells; ++i) {
                if (index % 2 == 0) {
                  for (slot& place : line.begin_push()) fill(resource, place, 16 + random.below(241));
                  line.end_push();
                } else {
                  for (const slot& place : line.begin_pop()) resource->deallocate(place.block, place.bytes);
                  line.end_pop();
                }
              }
            };
            const std::size_t cells = repetitions * cells_per_repetition;
            const auto elapsed = time_together(
                threads, [&](unsigned index) { exchange(index, warm_up_cells); },
                [&](unsigned index) { exchange(index, cells); }, nothing);
            return measurement{elapsed, cells * 64};
          }};
}

/// Each repetition starts the threads anew; each allocates 500 blocks of up to 512 bytes, replaces 500,
/// frees all, and ends.
workload come_and_go(unsigned threads) {
  return {.name = with_threads("come-and-go", threads),
          .operation = "allocate + deallocate, each thread (with its start and end)",
          .threads = threads,
          .memory_repetitions = 50,
          .run = [threads](std::pmr::memory_resource* resource, std::size_t repetitions) {
            const auto life = [resource](unsigned index) {
              random_source random(33 + index);
              std::vector<slot> slots(500);
              fill_all(resource, slots, random, 512);
              for (std::size_t i = 0; i < slots.size(); ++i) replace_one(resource, slots, random, 512);
              empty_all(resource, slots);
            };
            return time_repetitions(repetitions, 1000, [&] {
              std::vector<std::jthread> team;
              for (unsigned index = 0; index < threads; ++index) team.emplace_back(life, index);
            });
          }};
}

/// Half of the threads build maps of 200 strings, the other half destroy them.
workload handed_over(unsigned threads) {
  return {.name = with_threads("handed-over", threads),
          .operation = "element built, passed on, destroyed",
          .threads = threads,
          .memory_repetitions = 100,
          .run = [threads](std::pmr::memory_resource* resource, std::size_t repetitions) {
            using table = std::pmr::unordered_map<std::uint64_t, std::pmr::string>;
            using queue = ring<std::optional<table>, 8>;
            constexpr std::size_t elements = 200;
            std::vector<std::unique_ptr<queue>> queues;
            for (unsigned i = 0; i < threads / 2; ++i) queues.push_back(std::make_unique<queue>());
            const auto exchange = [&](unsigned index, std::size_t tables) {
              queue& line = *queues[index / 2];
              random_source random(34 + index);
              for (std::size_t i = 0; i < tables; ++i) {
                if (index % 2 == 0) {
                  table& built = line.begin_push().emplace(resource);
                  for (std::size_t j = 0; j < elements; ++j) {
                    built.try_emplace(random.next(), 16 + random.below(100), 'x');
                  }
                  line.end_push();
                } else {
                  line.begin_pop().reset();
                  line.end_pop();
                }
              }
            };
            const auto elapsed = time_together(
                threads, [&](unsigned index) { exchange(index, 16); },
                [&](unsigned index) { exchange(index, repetitions); }, nothing);
            return measurement{elapsed, repetitions * elements};
          }};
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
