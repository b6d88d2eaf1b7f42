// A plug-in with the whole library inside, of which nothing is seen outside.
#include "plugin.hpp"

#include <cistern/object_pool.hpp>
#include <cistern/pooled.hpp>
#include <cistern/synchronized_pool_resource.hpp>

#include <cstddef>
#include <memory_resource>
#include <optional>
#include <utility>
#include <vector>

namespace {

struct make_vector {
  std::vector<int> create() { return std::vector<int>(10); }
};

std::optional<cistern::synchronized_pool_resource> memory;
std::optional<cistern::object_pool<std::vector<int>, make_vector>> objects;
std::optional<cistern::object_pool<std::vector<int>, make_vector, cistern::per_thread>> cached_objects;

struct order : cistern::pooled<order> {
  char data[100] = "an order";
};

}  // namespace

extern "C" {

void plugin_start() {
  memory.emplace();
  objects.emplace();
  cached_objects.emplace();
}

void plugin_work() {
  plugin_work_on(&*memory);
  { const auto one = objects->acquire(); }
  const auto one = cached_objects->acquire();
  const auto other = cached_objects->acquire();
}

void plugin_stop() {
  cached_objects.reset();
  objects.reset();
  memory.reset();
}

// The pool may be another copy's: what is inline comes from here, the rest from wherever the vtable is.
void plugin_work_on(cistern::synchronized_pool_resource* pool) {
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (std::size_t bytes = 8; bytes < 5000; bytes += 40) {
    blocks.emplace_back(pool->allocate(bytes), bytes);
  }
  for (const auto& [block, bytes] : blocks) {
    pool->deallocate(block, bytes);
  }
  std::pmr::vector<std::pmr::vector<char>> lists(pool);
  for (int i = 0; i < 100; ++i) {
    lists.emplace_back(std::size_t{64});
  }
}

void* plugin_make_order() {
  return new order;
}
void plugin_delete_order(void* made) {
  delete static_cast<order*>(made);
}
cistern::synchronized_pool_resource* plugin_process_pool() {
  return cistern::process_pool();
}
}
