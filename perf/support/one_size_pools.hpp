// one_size_pools: others' pools for blocks of one size, by their own types.
#pragma once

#include <cstddef>
#include <new>

#include <boost/pool/pool.hpp>
#ifdef CISTERN_PERF_FOONATHAN
#include <foonathan/memory/memory_pool.hpp>
#endif

namespace perf {

struct boost_pool {
  explicit boost_pool(std::size_t block_bytes) : pool(block_bytes) {}
  void* allocate() {
    void* const block = pool.malloc();
    if (block == nullptr) [[unlikely]]
      throw std::bad_alloc();
    return block;
  }
  void deallocate(void* block) { pool.free(block); }

  boost::pool<> pool;
};

#ifdef CISTERN_PERF_FOONATHAN
struct foonathan_pool {
  using pool_type = foonathan::memory::memory_pool<>;

  /// 32 blocks at first, as Boost.Pool.
  explicit foonathan_pool(std::size_t block_bytes)
      : pool(block_bytes, pool_type::min_block_size(block_bytes, 32)) {}
  void* allocate() { return pool.allocate_node(); }
  void deallocate(void* block) { pool.deallocate_node(block); }

  pool_type pool;
};
#endif

}  // namespace perf
