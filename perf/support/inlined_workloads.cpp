#include "support/inlined_workloads.hpp"

#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <cstddef>
#include <memory_resource>
#include <string>

#include "support/keep.hpp"
#include "support/one_size_pools.hpp"
#include "support/workload.hpp"

namespace perf {
namespace {

constexpr std::size_t batch_blocks = 1000;

/// A pool for blocks of `bytes`; other sizes aren't asked for.
template <class Pool, std::size_t bytes>
struct pool_of {
  void* allocate() { return pool.allocate(bytes); }
  void deallocate(void* block) { pool.deallocate(block, bytes); }
  Pool pool;
};

template <class Pool, std::size_t bytes>
struct for_blocks_of : Pool {
  for_blocks_of() : Pool(bytes) {}
};

template <class Pool>
void pair(benchmark::State& state) {
  Pool pool;
  keep(&pool);
  std::array<void*, 4> company{};
  for (void*& block : company) touch(block = pool.allocate());
  time_batches(state, batch_blocks, [&] {
    for (std::size_t i = 0; i < batch_blocks; ++i) {
      void* const block = pool.allocate();
      touch(block);
      pool.deallocate(block);
    }
  });
  for (void* block : company) pool.deallocate(block);
}

template <class Pool>
void fifo(benchmark::State& state) {
  Pool pool;
  keep(&pool);
  std::array<void*, batch_blocks> blocks{};
  time_batches(state, batch_blocks, [&] {
    for (void*& block : blocks) touch(block = pool.allocate());
    for (void* block : blocks) pool.deallocate(block);
  });
}

template <template <std::size_t> class Pool>
void add(const std::string& name) {
  benchmark::RegisterBenchmark(("pool/inlined-pair/64B/" + name).c_str(), pair<Pool<64>>);
  benchmark::RegisterBenchmark(("pool/inlined-pair/1KiB/" + name).c_str(), pair<Pool<1024>>);
  benchmark::RegisterBenchmark(("pool/inlined-batch/fifo/" + name).c_str(), fifo<Pool<64>>);
}

template <std::size_t bytes>
using unsynchronized = pool_of<cistern::unsynchronized_pool_resource, bytes>;
template <std::size_t bytes>
using synchronized = pool_of<cistern::synchronized_pool_resource, bytes>;
template <std::size_t bytes>
using standard = pool_of<std::pmr::unsynchronized_pool_resource, bytes>;
template <std::size_t bytes>
using boosts = for_blocks_of<boost_pool, bytes>;
#ifdef CISTERN_PERF_FOONATHAN
template <std::size_t bytes>
using foonathans = for_blocks_of<foonathan_pool, bytes>;
#endif

}  // namespace

void register_inlined_workloads() {
  add<unsynchronized>("cistern-unsync");
  add<synchronized>("cistern-sync");
  add<standard>("std-unsync");
  add<boosts>("boost-pool");
#ifdef CISTERN_PERF_FOONATHAN
  add<foonathans>("foonathan-pool");
#endif
}

}  // namespace perf
