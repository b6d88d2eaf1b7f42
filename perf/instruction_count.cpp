// instruction_count: takes one fast path often, in functions that callgrind can tell apart by name.
//
// count_instructions.py runs this program under callgrind, once per resource, and reads from its output what
// the calls made by measured_allocate and measured_deallocate cost.
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

std::unique_ptr<std::pmr::memory_resource> make(std::string_view name) {
  if (name == "floor") return std::make_unique<perf::floor_resource>(block_bytes);
  if (name == "synchronized") return std::make_unique<cistern::synchronized_pool_resource>();
  if (name == "unsynchronized") return std::make_unique<cistern::unsynchronized_pool_resource>();
  return nullptr;
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

int main(int argc, char** argv) {
  const auto owner = make(argc == 2 ? argv[1] : "");
  if (!owner) {
    std::cerr << "usage: instruction_count floor|unsynchronized|synchronized\n";
    return 2;
  }
  std::pmr::memory_resource* resource = perf::hide(owner.get());
  unmeasured_warm_up(resource);
  block_array blocks{};
  for (int round = 0; round < 100; ++round) {
    measured_allocate(resource, blocks);
    measured_deallocate(resource, blocks);
  }
  return 0;
}
