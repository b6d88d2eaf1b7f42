#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "support/keep.hpp"
#include "support/workload.hpp"

namespace perf {
namespace {

using size_list = std::vector<std::size_t>;

void allocate_all(std::pmr::memory_resource* resource, const size_list& sizes, void** blocks) {
  for (std::size_t i = 0; i < sizes.size(); ++i) touch(blocks[i] = resource->allocate(sizes[i]));
}

void deallocate_all(std::pmr::memory_resource* resource, const size_list& sizes, void** blocks) {
  for (std::size_t i = 0; i < sizes.size(); ++i) resource->deallocate(blocks[i], sizes[i]);
}

/// A resource is made, gives a block of each of `sizes`, has them back, and is destroyed: a pool for each
/// request. Held is what 1,000 of them take that live at once, with their blocks.
workload life(std::string name, const size_list& sizes) {
  return {.name = "life/" + std::move(name),
          .operation = "a resource's life",
          .memory_operations = 1000,
          .run_lives =
              [=](benchmark::State& state, const resource_maker& make) {
                std::array<void*, 10> blocks{};
                time_batches(state, 1, [&] {
                  const auto resource = make();
                  std::pmr::memory_resource* const hidden = hide(resource.get());
                  allocate_all(hidden, sizes, blocks.data());
                  deallocate_all(hidden, sizes, blocks.data());
                });
              },
          .hold =
              [=](const resource_maker& make, const settled_hook& settled) {
                constexpr std::size_t count = 1000;
                std::vector<std::shared_ptr<std::pmr::memory_resource>> resources(count);
                std::vector<std::array<void*, 10>> blocks(count);
                for (std::size_t i = 0; i < count; ++i) {
                  resources[i] = make();
                  allocate_all(resources[i].get(), sizes, blocks[i].data());
                }
                settled(nullptr);
                for (std::size_t i = 0; i < count; ++i) {
                  deallocate_all(resources[i].get(), sizes, blocks[i].data());
                }
              }};
}

}  // namespace

std::vector<workload> life_workloads() {
  size_list ten_sizes;
  for (std::size_t i = 0; i < 10; ++i) ten_sizes.push_back(32 + 24 * i);
  return {life("nothing", {}), life("ten-blocks", size_list(10, 64)), life("ten-sizes", ten_sizes)};
}

}  // namespace perf
