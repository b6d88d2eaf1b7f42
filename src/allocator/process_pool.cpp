#include <cistern/detail/base/asan_tail.hpp>
#include <cistern/detail/base/environment.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/process_pool.hpp>

#include <cstddef>
#include <memory_resource>
#include <new>

namespace cistern::detail {
namespace {

// Pages hide what lies in them from tools: from a search for leaks, and, passed through, from everything.
std::pmr::memory_resource* upstream() {
  const bool tools_look = program_has_asan() || environment_says_pass_through();
  return tools_look ? std::pmr::new_delete_resource() : pages();
}

}  // namespace

constinit std::atomic<synchronized_pool_resource*> process_pool_pointer{nullptr};

synchronized_pool_resource* make_process_pool() {
  // In static storage, and no static object itself: nobody destroys it.
  alignas(synchronized_pool_resource) static std::byte storage[sizeof(synchronized_pool_resource)];
  static synchronized_pool_resource* const pool = new (storage) synchronized_pool_resource(upstream());
  process_pool_pointer.store(pool, std::memory_order_release);  // pairs with the acquire in `process_pool`
  return pool;
}

}  // namespace cistern::detail
