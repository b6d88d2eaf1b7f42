#include <algorithm>
#include <numeric>

#include "support/keep.hpp"
#include "support/random.hpp"
#include "support/slots.hpp"
#include "support/workload.hpp"

namespace perf {
namespace {

constexpr std::size_t batch_blocks = 1000;

std::string size_name(std::size_t bytes) {
  if (bytes >= 1 << 20) return std::to_string(bytes >> 20) + "MiB";
  if (bytes >= 1 << 10) return std::to_string(bytes >> 10) + "KiB";
  return std::to_string(bytes) + "B";
}

workload pair(std::size_t bytes) {
  return {.name = "pair/" + size_name(bytes),
          .operation = "allocate + deallocate",
          .one_block_bytes = bytes,
          .memory_operations = 100 * batch_blocks,
          .run = [bytes](benchmark::State& state, std::pmr::memory_resource* resource) {
            const company others(resource, bytes);
            time_batches(state, batch_blocks, [=] {
              for (std::size_t i = 0; i < batch_blocks; ++i) {
                void* block = resource->allocate(bytes);
                touch(block);
                resource->deallocate(block, bytes);
              }
            });
          }};
}

/// Allocates a batch of 64-byte blocks, then frees it in the order given by `order`.
workload batch(std::string name, std::vector<std::uint32_t> order) {
  constexpr std::size_t bytes = 64;
  return {.name = "batch/" + std::move(name),
          .operation = "allocate + deallocate",
          .one_block_bytes = bytes,
          .memory_operations = 100 * batch_blocks,
          .run = [order = std::move(order)](benchmark::State& state, std::pmr::memory_resource* resource) {
            std::vector<void*> blocks(order.size());
            time_batches(state, order.size(), [&] {
              for (void*& block : blocks) {
                block = resource->allocate(bytes);
                touch(block);
              }
              for (const std::uint32_t index : order) resource->deallocate(blocks[index], bytes);
            });
          }};
}

std::vector<std::uint32_t> ascending() {
  std::vector<std::uint32_t> order(batch_blocks);
  std::iota(order.begin(), order.end(), 0U);
  return order;
}

std::vector<std::uint32_t> descending() {
  auto order = ascending();
  std::reverse(order.begin(), order.end());
  return order;
}

std::vector<std::uint32_t> shuffled() {
  auto order = ascending();
  random_source random(11);
  for (std::size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  return order;
}

/// `live` blocks of 8 to 512 bytes; an operation frees one of them at random and allocates another.
workload random_sizes(std::size_t live) {
  return {.name = "live/" + std::to_string(live),
          .operation = "deallocate + allocate",
          .memory_operations = static_cast<std::int64_t>(live),
          .run = [live](benchmark::State& state, std::pmr::memory_resource* resource) {
            random_source random(12);
            std::vector<slot> slots(live);
            fill_all(resource, slots, random, 512);
            // Every slot is replaced about once before the clock starts: the order of a fresh heap is gone.
            for (std::size_t i = 0; i < live; ++i) replace_one(resource, slots, random, 512);
            time_batches(state, 1000, [&] {
              for (int i = 0; i < 1000; ++i) replace_one(resource, slots, random, 512);
            });
            empty_all(resource, slots);
          }};
}

/// Everything grows to 500,000 blocks of 8 to 512 bytes and then goes, in random order: shows what getting
/// memory and giving it back cost, which the other workloads leave out.
workload rise_and_fall() {
  return {.name = "rise-and-fall/500000",
          .operation = "allocate + deallocate",
          .run = [](benchmark::State& state, std::pmr::memory_resource* resource) {
            constexpr std::size_t count = 500'000;
            constexpr std::size_t stride = 314'159;  // prime to count: visits every slot once
            random_source random(14);
            std::vector<slot> slots(count);
            time_batches(state, count, [&] {
              fill_all(resource, slots, random, 512);
              for (std::size_t i = 0, index = 0; i < count; ++i, index = (index + stride) % count) {
                resource->deallocate(slots[index].block, slots[index].bytes);
              }
            });
          }};
}

/// 1,000 live blocks of 16 bytes to 32 KiB, every doubling as likely as the next.
workload mixed_sizes() {
  return {.name = "mixed/32KiB",
          .operation = "deallocate + allocate",
          .memory_operations = 100 * batch_blocks,
          .run = [](benchmark::State& state, std::pmr::memory_resource* resource) {
            random_source random(13);
            const auto size = [&random] {
              const std::uint64_t bits = random.next();
              const std::size_t base = std::size_t{16} << random_source::scale(bits >> 32U, 11);
              return base + random_source::scale(bits, base + 1);
            };
            std::vector<slot> slots(1000);
            for (slot& place : slots) fill(resource, place, size());
            time_batches(state, 1000, [&] {
              for (int i = 0; i < 1000; ++i) {
                slot& place = slots[random.below(slots.size())];
                resource->deallocate(place.block, place.bytes);
                fill(resource, place, size());
              }
            });
            empty_all(resource, slots);
          }};
}

}  // namespace

std::vector<workload> block_workloads() {
  std::vector<workload> all;
  for (const std::size_t bytes :
       {16UL, 64UL, 256UL, 1UL << 10, 4UL << 10, 32UL << 10, 256UL << 10, 1UL << 20}) {
    all.push_back(pair(bytes));
  }
  all.push_back(batch("lifo", descending()));
  all.push_back(batch("fifo", ascending()));
  all.push_back(batch("random", shuffled()));
  for (const std::size_t live : {1'000UL, 10'000UL, 100'000UL, 1'000'000UL}) {
    all.push_back(random_sizes(live));
  }
  all.push_back(rise_and_fall());
  all.push_back(mixed_sizes());
  return all;
}

}  // namespace perf
