#include "support/contestant.hpp"

#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>

#ifdef CISTERN_PERF_BOOST_CONTAINER
#include <boost/container/pmr/synchronized_pool_resource.hpp>
#include <boost/container/pmr/unsynchronized_pool_resource.hpp>
#endif

#include "demo/never_frees.hpp"
#include "support/floor_resource.hpp"
#include "support/nothing_resource.hpp"
#include "support/one_size_pools.hpp"
#include "support/peer_malloc.hpp"
#include <malloc.h>

namespace perf {
namespace {

template <class Pool>
std::shared_ptr<std::pmr::memory_resource> make_pool(std::size_t) {
  return std::make_shared<Pool>();
}

template <class Pool>
std::shared_ptr<std::pmr::memory_resource> make_for_one_size(std::size_t one_block_bytes) {
  return std::make_shared<Pool>(one_block_bytes);
}

contestant::factory use(std::pmr::memory_resource* resource) {
  return [resource](std::size_t) {
    return std::shared_ptr<std::pmr::memory_resource>(resource, [](std::pmr::memory_resource*) {});
  };
}

void trim_malloc(std::pmr::memory_resource&) {
  malloc_trim(0);
}

template <class Pool>
void trim(std::pmr::memory_resource& pool) {
  dynamic_cast<Pool&>(pool).trim();
  malloc_trim(0);
}

template <class Pool>
account account_of(std::pmr::memory_resource& pool) {
  const cistern::pool_statistics now = dynamic_cast<Pool&>(pool).statistics();
  return {now.upstream_allocations + now.upstream_deallocations, now.upstream_bytes};
}

/// A pool with its default options over new/delete.
template <class Pool>
contestant pool(std::string name, bool thread_safe) {
  return {
      .name = std::move(name), .thread_safe = thread_safe, .make = make_pool<Pool>, .give_back = trim_malloc};
}

template <class Pool>
contestant ours(std::string name, bool thread_safe) {
  contestant result = pool<Pool>(std::move(name), thread_safe);
  result.give_back = trim<Pool>;
  result.keeps = account_of<Pool>;
  return result;
}

/// Pools of blocks of one size don't look at the size asked for.
template <class Pool>
class one_size_resource final : public std::pmr::memory_resource {
 public:
  explicit one_size_resource(std::size_t block_bytes) : pool_(block_bytes) {}

 private:
  void* do_allocate(std::size_t, std::size_t) override { return pool_.allocate(); }
  void do_deallocate(void* block, std::size_t, std::size_t) override { pool_.deallocate(block); }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  Pool pool_;
};

template <class Pool>
contestant one_size(std::string name) {
  return {.name = std::move(name),
          .one_size_only = true,
          .make = make_for_one_size<Pool>,
          .give_back = trim_malloc};
}

#ifdef CISTERN_PERF_BOOST_CONTAINER
/// A resource of Boost.Container, whose memory_resource is another class than the standard's. The calls below
/// are not virtual: the compiler knows the pool's class.
template <class Pool>
class boost_container_pool final : public std::pmr::memory_resource {
  struct known final : Pool {
    using Pool::do_allocate;
    using Pool::do_deallocate;
  };

  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return pool_.do_allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    pool_.do_deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  known pool_;
};
#endif

std::vector<contestant> make_contestants() {
  std::vector<contestant> all;
  all.push_back(one_size<floor_resource>("floor"));
  all.push_back(ours<cistern::unsynchronized_pool_resource>("cistern-unsync", false));
  all.push_back(ours<cistern::synchronized_pool_resource>("cistern-sync", true));
  for (const peer_malloc& peer : peer_mallocs().found) {
    all.push_back({.name = std::string(peer.name),
                   .thread_safe = true,
                   .global = true,
                   .make = use(peer.resource),
                   .give_back = peer.give_back});
  }
  all.push_back(pool<std::pmr::unsynchronized_pool_resource>("std-unsync", false));
  all.push_back(pool<std::pmr::synchronized_pool_resource>("std-sync", true));
#ifdef CISTERN_PERF_BOOST_CONTAINER
  namespace boost_pmr = boost::container::pmr;
  all.push_back(pool<boost_container_pool<boost_pmr::unsynchronized_pool_resource>>("boost-unsync", false));
  all.push_back(pool<boost_container_pool<boost_pmr::synchronized_pool_resource>>("boost-sync", true));
#endif
  all.push_back(one_size<one_size_resource<boost_pool>>("boost-pool"));
#ifdef CISTERN_PERF_FOONATHAN
  all.push_back(one_size<one_size_resource<foonathan_pool>>("foonathan-pool"));
#endif
  all.push_back({.name = "monotonic",
                 .never_frees = true,
                 .make = make_pool<std::pmr::monotonic_buffer_resource>,
                 .give_back = trim_malloc});
  all.push_back({.name = "never-frees",
                 .thread_safe = true,
                 .is_rewound = true,
                 .make = make_pool<demo::never_frees>,
                 .give_back = trim_malloc});
  all.push_back({.name = "new-delete",
                 .thread_safe = true,
                 .global = true,
                 .make = use(std::pmr::new_delete_resource()),
                 .give_back = trim_malloc});
  all.push_back({.name = "nothing", .empty_handed = true, .make = make_pool<nothing_resource>});
  return all;
}

}  // namespace

const std::vector<contestant>& contestants() {
  static const std::vector<contestant> all = make_contestants();
  return all;
}

const contestant* find_contestant(const std::string& name) {
  const auto& all = contestants();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const contestant& one) { return one.name == name; });
  return found != all.end() ? &*found : nullptr;
}

bool eligible(const contestant& who, const workload& what) {
  const bool lives = what.run_lives != nullptr;
  return (!who.one_size_only || (what.one_block_bytes != 0 && !lives)) &&
         (what.threads == 0 || who.thread_safe) && (!who.global || !lives) && (!who.never_frees || lives) &&
         (!who.is_rewound || what.rewinds) && (!who.empty_handed || what.net);
}

}  // namespace perf
