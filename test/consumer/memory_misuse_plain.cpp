// Plain code of a program whose other code may be instrumented: it has the inline fast paths of the pools.
#include <cstring>
#include <utility>
#include <vector>

#include "memory_misuse.hpp"

namespace {

template <class Pool>
void use_all_sizes(Pool& pool) {
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (std::size_t round = 0; round < 3; ++round) {
    for (std::size_t bytes = 1; bytes < 100'000; bytes = bytes * 5 / 4 + 1) {
      blocks.emplace_back(pool.allocate(bytes), bytes);
      // AddressSanitizer sees this also in plain code.
      std::memset(blocks.back().first, static_cast<int>(round), bytes);
    }
    for (std::size_t i = round % 2; i < blocks.size(); i += 2) {
      pool.deallocate(std::exchange(blocks[i].first, nullptr), blocks[i].second);
    }
    std::erase_if(blocks, [](const auto& block) { return block.first == nullptr; });
  }
  for (const auto& [block, bytes] : blocks) pool.deallocate(block, bytes);
}

}  // namespace

namespace plain {

void use(cistern::unsynchronized_pool_resource& pool) {
  use_all_sizes(pool);
}

void use(cistern::synchronized_pool_resource& pool) {
  use_all_sizes(pool);
}

void free(cistern::unsynchronized_pool_resource& pool, void* block, std::size_t bytes) {
  pool.deallocate(block, bytes);
}

void free(cistern::synchronized_pool_resource& pool, void* block, std::size_t bytes) {
  pool.deallocate(block, bytes);
}

}  // namespace plain
