// instruction_count: takes one path often, in functions that callgrind can tell apart by name.
//
// count_instructions.py runs this program under callgrind, once per scene, and reads from its output what the
// calls made by the functions measured_… cost.
#include <cistern/pool_allocator.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <cstddef>
#include <iostream>
#include <memory>
#include <memory_resource>
#include <string_view>

#include "support/floor_resource.hpp"
#include "support/keep.hpp"

namespace {

constexpr std::size_t block_bytes = 64;
using block_array = std::array<void*, 8>;  // few enough to stay within one magazine of a thread cache
using tide_array = std::array<void*, 10'000>;
constexpr std::size_t stride = 3'571;  // prime to the number of blocks: visits each once
constexpr std::size_t guarded_one_in = 1'000;

std::unique_ptr<std::pmr::memory_resource> make(std::string_view name, const cistern::pool_options& options) {
  if (name == "floor") return std::make_unique<perf::floor_resource>(block_bytes);
  if (name == "synchronized") return std::make_unique<cistern::synchronized_pool_resource>(options);
  if (name == "unsynchronized") return std::make_unique<cistern::unsynchronized_pool_resource>(options);
  return nullptr;
}

using life = void (*)(std::size_t sizes);

/// Of a pool on the stack, from its constructor to its destructor: a block of each of so many sizes, over
/// new/delete.
template <class Pool>
[[gnu::noinline]] void live(std::size_t sizes) {
  Pool pool(std::pmr::new_delete_resource());
  std::pmr::memory_resource* const resource = perf::hide(&pool);
  std::array<void*, 10> blocks{};
  for (std::size_t i = 0; i < sizes; ++i) blocks[i] = resource->allocate(32 + 24 * i);
  perf::keep(&blocks);
  for (std::size_t i = 0; i < sizes; ++i) resource->deallocate(blocks[i], 32 + 24 * i);
}

life life_of(std::string_view name) {
  if (name == "synchronized") return live<cistern::synchronized_pool_resource>;
  if (name == "unsynchronized") return live<cistern::unsynchronized_pool_resource>;
  if (name == "standard_synchronized") return live<std::pmr::synchronized_pool_resource>;
  if (name == "standard_unsynchronized") return live<std::pmr::unsynchronized_pool_resource>;
  return nullptr;
}

/// What a container has. The functions are all that is inlined into it, and a return.
struct element {
  std::array<std::byte, block_bytes> bytes;
};
using allocator = cistern::pool_allocator<element, cistern::unsynchronized_pool_resource>;

[[gnu::noinline]] element* allocate_element(allocator from) {
  return from.allocate(1);
}
[[gnu::noinline]] void deallocate_element(allocator to, element* one) {
  to.deallocate(one, 1);
}

/// What stands before the dash; all of it where there is none.
std::string_view resource_of(std::string_view scene) {
  return scene.substr(0, scene.find('-'));
}
/// The dash and what follows it.
std::string_view variant_of(std::string_view scene) {
  return scene.substr(resource_of(scene).size());
}

}  // namespace

extern "C" {

// C names, so that they read the same in every compiler's symbol table.
[[gnu::noinline]] void measured_allocate(std::pmr::memory_resource* resource, block_array& blocks) {
  for (void*& block : blocks) block = resource->allocate(block_bytes);
  perf::keep(&blocks);
}

[[gnu::noinline]] void measured_deallocate(std::pmr::memory_resource* resource, block_array& blocks) {
  for (void* block : blocks) resource->deallocate(block, block_bytes);
  perf::keep(&blocks);
}

/// With the slow paths that it takes.
[[gnu::noinline]] void measured_rise(std::pmr::memory_resource* resource, tide_array& blocks) {
  for (void*& block : blocks) block = resource->allocate(block_bytes);
  perf::keep(&blocks);
}

[[gnu::noinline]] void measured_inlined_allocate(allocator from, block_array& blocks) {
  for (void*& block : blocks) block = allocate_element(from);
  perf::keep(&blocks);
}

[[gnu::noinline]] void measured_inlined_deallocate(allocator to, block_array& blocks) {
  for (void* block : blocks) deallocate_element(to, static_cast<element*>(block));
  perf::keep(&blocks);
}

[[gnu::noinline]] void measured_life_of_nothing(life one) {
  one(0);
  perf::keep(&one);  // no tail call
}

[[gnu::noinline]] void measured_life_of_one_block(life one) {
  one(1);
  perf::keep(&one);
}

[[gnu::noinline]] void measured_life_of_ten_sizes(life one) {
  one(10);
  perf::keep(&one);
}

/// As a rise, under a name that isn't counted.
[[gnu::noinline]] void unmeasured_rise(std::pmr::memory_resource* resource, tide_array& blocks) {
  for (void*& block : blocks) block = resource->allocate(block_bytes);
}

/// Frees all, in an order that has nothing to do with that of the allocations.
[[gnu::noinline]] void unmeasured_fall(std::pmr::memory_resource* resource, tide_array& blocks) {
  for (std::size_t i = 0, place = 0; i < blocks.size(); ++i, place = (place + stride) % blocks.size()) {
    resource->deallocate(blocks[place], block_bytes);
  }
}

[[gnu::noinline]] void unmeasured_warm_up(std::pmr::memory_resource* resource) {
  std::array<block_array, 4> many{};
  for (block_array& blocks : many) {
    for (void*& block : blocks) block = resource->allocate(block_bytes);
  }
  for (block_array& blocks : many) {
    for (void* block : blocks) resource->deallocate(block, block_bytes);
  }
}
}

namespace {

void take_fast_paths(std::pmr::memory_resource* resource, int rounds) {
  unmeasured_warm_up(resource);
  block_array blocks{};
  for (int round = 0; round < rounds; ++round) {
    measured_allocate(resource, blocks);
    measured_deallocate(resource, blocks);
  }
}

/// A rise after a fall: whatever the resource makes of free blocks in disorder is in its figure.
void rise_after_falls(std::pmr::memory_resource* resource) {
  tide_array blocks{};
  unmeasured_rise(resource, blocks);
  unmeasured_fall(resource, blocks);
  measured_rise(resource, blocks);
  unmeasured_fall(resource, blocks);
}

/// As a container that knows its element's size and the type of its pool.
void take_inlined_paths(int rounds) {
  cistern::unsynchronized_pool_resource pool;
  unmeasured_warm_up(&pool);
  block_array blocks{};
  for (int round = 0; round < rounds; ++round) {
    measured_inlined_allocate(&pool, blocks);
    measured_inlined_deallocate(&pool, blocks);
  }
}

/// The first one finds malloc as it is when a program begins.
void live_and_die(life one, int rounds) {
  one(10);
  for (int round = 0; round < rounds; ++round) {
    measured_life_of_nothing(one);
    measured_life_of_one_block(one);
    measured_life_of_ten_sizes(one);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view scene = argc == 2 ? argv[1] : "";
  const std::string_view variant = variant_of(scene);
  if (const life one = life_of(resource_of(scene)); variant == "-life" && one != nullptr) {
    live_and_die(one, 100);
    return 0;
  }
  if (scene == "unsynchronized-inlined") {
    take_inlined_paths(100);
    return 0;
  }
  cistern::pool_options options;
  if (variant == "-guarded") options.sample_guard = guarded_one_in;
  const auto owner = make(resource_of(scene), options);
  if (!owner || (variant != "" && variant != "-rise" && variant != "-guarded")) {
    std::cerr << "usage: instruction_count floor|unsynchronized|synchronized[-rise|-guarded]\n"
                 "       instruction_count [standard_]unsynchronized|synchronized-life\n"
                 "       instruction_count unsynchronized-inlined\n";
    return 2;
  }
  std::pmr::memory_resource* const resource = perf::hide(owner.get());
  if (variant == "-rise") {
    rise_after_falls(resource);
  } else {
    take_fast_paths(resource, variant == "-guarded" ? 62'500 : 100);
  }
  return 0;
}
