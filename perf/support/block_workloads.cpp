#include <algorithm>
#include <numeric>

#include "support/keep.hpp"
#include "support/random.hpp"
#include "support/slots.hpp"
#include "support/workload.hpp"

namespace perf {
namespace {

constexpr std::size_t batch_blocks = 1000;
constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

std::string size_name(std::size_t bytes) {
  if (bytes >= mib) return std::to_string(bytes / mib) + "MiB";
  if (bytes >= kib) return std::to_string(bytes / kib) + "KiB";
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

/// Allocates a batch of blocks, then frees it in the order given by `order`.
workload batch(std::string name, std::size_t bytes, int batches_for_memory,
               std::vector<std::uint32_t> order) {
  return {.name = std::move(name),
          .operation = "allocate + deallocate",
          .one_block_bytes = bytes,
          .memory_operations = batches_for_memory * static_cast<std::int64_t>(order.size()),
          .run = [=](benchmark::State& state, std::pmr::memory_resource* resource) {
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

std::vector<std::uint32_t> ascending(std::size_t blocks) {
  std::vector<std::uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0U);
  return order;
}

std::vector<std::uint32_t> descending() {
  auto order = ascending(batch_blocks);
  std::reverse(order.begin(), order.end());
  return order;
}

std::vector<std::uint32_t> shuffled() {
  auto order = ascending(batch_blocks);
  random_source random(11);
  shuffle(order, random);
  return order;
}

/// `live` blocks whose sizes are spread evenly; an operation frees one of them at random and allocates
/// another.
workload replace(std::string name, std::size_t live, size_range sizes, std::size_t batch,
                 std::size_t memory_operations, std::uint64_t seed) {
  return {.name = std::move(name),
          .operation = "deallocate + allocate",
          .memory_operations = static_cast<std::int64_t>(memory_operations),
          .run = [=](benchmark::State& state, std::pmr::memory_resource* resource) {
            random_source random(seed);
            std::vector<slot> slots(live);
            fill_all(resource, slots, random, sizes);
            // Every slot is replaced about once before the clock starts: the order of a fresh heap is gone.
            for (std::size_t i = 0; i < live; ++i) replace_one(resource, slots, random, sizes);
            time_batches(state, batch, [&] {
              for (std::size_t i = 0; i < batch; ++i) replace_one(resource, slots, random, sizes);
            });
            empty_all(resource, slots);
          }};
}

/// All are allocated, then all are freed in random order.
workload fall_at_random(std::string name, std::size_t count, size_range sizes) {
  return {.name = std::move(name),
          .operation = "allocate + deallocate",
          .run = [=](benchmark::State& state, std::pmr::memory_resource* resource) {
            random_source random(16);
            std::vector<slot> slots(count);
            time_batches(state, count, [&] {
              fill_all(resource, slots, random, sizes);
              shuffle(slots, random);
              empty_all(resource, slots);
            });
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
              fill_all(resource, slots, random, small_sizes);
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

std::vector<workload> block_workloads(effort how_much) {
  std::vector<workload> all;
  for (const std::size_t bytes : {16UL, 64UL, 256UL, kib, 4 * kib, 32 * kib, 256 * kib, mib}) {
    all.push_back(pair(bytes));
  }
  all.push_back(batch("batch/lifo", 64, 100, descending()));
  all.push_back(batch("batch/fifo", 64, 100, ascending(batch_blocks)));
  all.push_back(batch("batch/random", 64, 100, shuffled()));
  for (const std::size_t live : {1'000UL, 10'000UL, 100'000UL, 1'000'000UL}) {
    all.push_back(replace("live/" + std::to_string(live), live, small_sizes, 1000, live, 12));
  }
  all.push_back(rise_and_fall());
  all.push_back(mixed_sizes());
  all.push_back(batch("tide/100x1MiB", mib, 10, ascending(100)));
  all.push_back(batch("tide/17000x4KiB", 4 * kib, 10, ascending(17'000)));
  all.push_back(replace("large/32x64KiB-1MiB", 32, {64 * kib, mib}, 200, 2000, 15));
  all.push_back(replace("large/3000x33KiB-1MiB", 3000, {33 * kib, mib}, 200, 2000, 15));
  const std::size_t fallen = how_much == effort::full ? 8000 : 300;
  all.push_back(
      fall_at_random("large-fall/" + std::to_string(fallen) + "x33KiB-1MiB", fallen, {33 * kib, mib}));
  return all;
}

}  // namespace perf
