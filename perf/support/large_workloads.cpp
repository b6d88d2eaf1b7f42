#include <cstddef>
#include <string>
#include <vector>

#include "support/keep.hpp"
#include "support/random.hpp"
#include "support/slots.hpp"
#include "support/workload.hpp"

namespace perf {
namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

/// `count` blocks of one size are allocated, then freed in the same order.
workload tide(std::string name, std::size_t count, std::size_t bytes) {
  return {.name = std::move(name),
          .operation = "allocate + deallocate",
          .one_block_bytes = bytes,
          .memory_operations = 10 * static_cast<std::int64_t>(count),
          .run = [=](benchmark::State& state, std::pmr::memory_resource* resource) {
            std::vector<void*> blocks(count);
            time_batches(state, count, [&] {
              for (void*& block : blocks) touch(block = resource->allocate(bytes));
              for (void* block : blocks) resource->deallocate(block, bytes);
            });
          }};
}

/// `live` blocks whose sizes are spread evenly; an operation frees one of them at random and allocates
/// another.
workload replace(std::string name, std::size_t live, size_range sizes) {
  return {.name = std::move(name),
          .operation = "deallocate + allocate",
          .memory_operations = 2000,
          .run = [=](benchmark::State& state, std::pmr::memory_resource* resource) {
            constexpr int operations = 200;
            random_source random(15);
            std::vector<slot> slots(live);
            fill_all(resource, slots, random, sizes);
            for (std::size_t i = 0; i < live; ++i) replace_one(resource, slots, random, sizes);
            time_batches(state, operations, [&] {
              for (int i = 0; i < operations; ++i) replace_one(resource, slots, random, sizes);
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

}  // namespace

std::vector<workload> large_workloads(effort how_much) {
  const std::size_t fallen = how_much == effort::full ? 8000 : 300;
  return {tide("tide/100x1MiB", 100, mib), tide("tide/17000x4KiB", 17'000, 4 * kib),
          replace("large/32x64KiB-1MiB", 32, {64 * kib, mib}),
          replace("large/3000x33KiB-1MiB", 3000, {33 * kib, mib}),
          fall_at_random("large-fall/" + std::to_string(fallen) + "x33KiB-1MiB", fallen, {33 * kib, mib})};
}

}  // namespace perf
