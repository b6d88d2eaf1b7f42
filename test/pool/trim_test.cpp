// What trims cost. A chunk becomes free by a free alone: where none came since a walk over the free blocks in
// vain, no block is looked at again, neither by the next trim, nor by other threads on behalf of the one that
// trims, nor by each request that max_bytes refuses. Shown over memory that is closed meanwhile: whoever
// looks dies.
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <barrier>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <thread>
#include <tuple>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/closable_resource.hpp"
#include "../support/death.hpp"
#include "../support/pool_checks.hpp"

using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

/// Of many blocks one in sixteen stays: no chunk can go.
template <class Pool>
void free_most(Pool& pool, const std::vector<void*>& blocks) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i % 16 != 0) pool.deallocate(blocks[i], 64);
  }
}

void close(const std::vector<void*>& blocks) {
  for (std::size_t i = 0; i < blocks.size(); i += 16) closable_resource::close(blocks[i], 64);
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(a_second_trim_looks_at_no_block, Pool, pools) {
  BOOST_TEST(ending_of([] {
               closable_resource upstream(64 * mib);
               auto& pool = *new Pool(&upstream);
               const std::vector<void*> blocks = allocate_many(pool, 100'000, 64);
               free_most(pool, blocks);
               pool.trim();
               close(blocks);
               std::_Exit(pool.trim() == 0 ? 0 : 1);
             }) == "exited with 0");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_free_in_between_is_looked_for, Pool, pools) {
  closable_resource upstream(64 * mib);
  Pool pool(&upstream);
  const std::vector<void*> blocks = allocate_many(pool, 100'000, 64);
  free_most(pool, blocks);
  pool.trim();
  pool.trim();
  for (std::size_t i = 0; i < blocks.size(); i += 16) pool.deallocate(blocks[i], 64);
  pool.trim();
  BOOST_TEST(pool.statistics().idle_bytes == 0U);
  BOOST_TEST(pool.statistics().in_use_bytes == 0U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_trim_that_had_to_keep_some_is_not_taken_for_one_in_vain, Pool, pools) {
  closable_resource upstream(64 * mib);
  Pool pool(&upstream);
  const std::vector<void*> blocks = allocate_many(pool, 100'000, 64);
  for (std::size_t i = 1; i < blocks.size(); ++i) pool.deallocate(blocks[i], 64);
  pool.trim(2 * mib);
  BOOST_TEST(pool.statistics().idle_bytes > mib);
  BOOST_TEST(pool.trim() > mib / 2);
  pool.deallocate(blocks[0], 64);
}

BOOST_AUTO_TEST_CASE(other_threads_do_not_repeat_a_trim) {
  BOOST_TEST(ending_of([] {
               closable_resource upstream(64 * mib);
               auto& pool = *new cistern::synchronized_pool_resource(&upstream);
               const std::vector<void*> blocks = allocate_many(pool, 100'000, 64);
               free_most(pool, blocks);
               std::barrier turn(2);
               std::thread other([&] {
                 (void)pool.allocate(4096);  // has a cache now, and nothing of 64 bytes in it
                 turn.arrive_and_wait();
                 turn.arrive_and_wait();
                 void* const block =
                     pool.allocate(3000);  // a slow path, which finds that a trim was asked for
                 std::_Exit(block != nullptr ? 0 : 1);
               });
               turn.arrive_and_wait();
               pool.trim();
               close(blocks);
               turn.arrive_and_wait();
               other.join();
             }) == "exited with 0");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_refusal_looks_once, Pool, pools) {
  BOOST_TEST(ending_of([] {
               closable_resource upstream(64 * mib);
               auto& pool = *new Pool({.max_bytes = 8 * mib}, &upstream);
               std::vector<void*> blocks;
               try {
                 for (;;) blocks.push_back(pool.allocate(64));
               } catch (const std::bad_alloc&) {
               }
               free_most(pool, blocks);
               int refusals = 0;
               for (int round = 0; round < 3; ++round) {
                 try {
                   (void)pool.allocate(100'000);
                 } catch (const std::bad_alloc&) {
                   ++refusals;
                 }
                 close(blocks);
               }
               std::_Exit(refusals == 3 ? 0 : 1);
             }) == "exited with 0");
}
