#include "per_thread_registry.hpp"

#include <algorithm>
#include <mutex>
#include <new>
#include <vector>

namespace cistern::detail {

namespace {

struct registered {
  object_cache_home* pool = nullptr;
  std::uint64_t serial = 0;
};

struct registry {
  std::mutex mutex;  // before a pool's mutex
  std::vector<registered> pools;
  std::uint64_t last_serial = 0;
};

// Never destroyed: threads may end after the static objects.
registry& all_pools() noexcept {
  static registry& instance = *new registry;
  return instance;
}

// Its destructor runs when the thread ends.
struct directory_guard {
  ~directory_guard() {
    object_cache_directory& here = object_caches_here;
    {
      registry& all = all_pools();
      const std::scoped_lock lock(all.mutex);
      for (std::uint32_t number = 0; number < here.size; ++number) {
        const object_cache_entry& entry = here.entries[number];
        if (entry.cache != nullptr && all.pools[number].serial == entry.serial) {
          all.pools[number].pool->retire(*entry.cache);
        }
      }
    }
    delete[] here.entries;
    here = {nullptr, 0, true};
  }
};

}  // namespace

pool_identity register_pool(object_cache_home& pool) {
  registry& all = all_pools();
  const std::scoped_lock lock(all.mutex);
  auto place = std::find_if(all.pools.begin(), all.pools.end(),
                            [](const registered& one) { return one.pool == nullptr; });
  if (place == all.pools.end()) {
    place = all.pools.insert(place, registered{});
  }
  *place = {&pool, ++all.last_serial};
  return {static_cast<std::uint32_t>(place - all.pools.begin()), place->serial};
}

void unregister_pool(pool_identity identity) noexcept {
  registry& all = all_pools();
  const std::scoped_lock lock(all.mutex);
  all.pools[identity.number] = {};
}

bool remember_cache(pool_identity identity, object_cache* cache) noexcept {
  static thread_local directory_guard guard;
  object_cache_directory& here = object_caches_here;
  if (here.ended) {
    return false;
  }
  (void)guard;
  if (identity.number >= here.size) {
    const std::uint32_t size = std::max(identity.number + 1, here.size * 2);
    auto* const entries = new (std::nothrow) object_cache_entry[size];
    if (entries == nullptr) {
      return false;
    }
    std::copy_n(here.entries, here.size, entries);
    delete[] here.entries;
    here.entries = entries;
    here.size = size;
  }
  here.entries[identity.number] = {identity.serial, cache};
  return true;
}

}  // namespace cistern::detail
