#include "demo/taker.hpp"

#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <stdexcept>

#include "demo/mimalloc.hpp"
#include "demo/never_frees.hpp"
#include <malloc.h>

namespace demo {
namespace {

using resource_pointer = std::shared_ptr<std::pmr::memory_resource>;

template <class Resource>
resource_pointer make_own() {
  return std::make_shared<Resource>();
}

template <std::pmr::memory_resource* (*get)()>
resource_pointer use_global() {
  return {get(), [](std::pmr::memory_resource*) {}};
}

std::pmr::memory_resource* new_delete() {
  return std::pmr::new_delete_resource();
}

template <class Pool>
void trim(std::pmr::memory_resource& pool) {
  dynamic_cast<Pool&>(pool).trim();
  ::malloc_trim(0);
}

void trim_malloc(std::pmr::memory_resource&) {
  ::malloc_trim(0);
}

void collect_mimalloc(std::pmr::memory_resource&) {
  mimalloc_collect();
}

void rewind(std::pmr::memory_resource& resource) {
  dynamic_cast<never_frees&>(resource).rewind();
}

using cistern_unsync = cistern::unsynchronized_pool_resource;
using cistern_sync = cistern::synchronized_pool_resource;

constexpr taker list[] = {
    {.name = baseline_name,
     .meaning = "what a program has that does nothing about it: the C library's malloc",
     .thread_safe = true,
     .make = use_global<new_delete>,
     .give_back = trim_malloc},
    {.name = "mimalloc",
     .meaning = "a malloc that is known to be fast",
     .thread_safe = true,
     .make = use_global<mimalloc_resource>,
     .give_back = collect_mimalloc},
    {.name = "std-unsync",
     .meaning = "the standard library's pool for one thread",
     .make = make_own<std::pmr::unsynchronized_pool_resource>,
     .give_back = trim_malloc},
    {.name = "std-sync",
     .meaning = "the standard library's pool for many threads",
     .thread_safe = true,
     .make = make_own<std::pmr::synchronized_pool_resource>,
     .give_back = trim_malloc},
    {.name = "cistern-unsync",
     .meaning = "Cistern's pool for one thread",
     .ours = true,
     .make = make_own<cistern_unsync>,
     .give_back = trim<cistern_unsync>},
    {.name = "cistern-sync",
     .meaning = "Cistern's pool for many threads",
     .ours = true,
     .thread_safe = true,
     .make = make_own<cistern_sync>,
     .give_back = trim<cistern_sync>},
    {.name = "never frees",
     .meaning = "takes nothing back: the least work for a block, and the most memory",
     .thread_safe = true,
     .make = make_own<never_frees>,
     .rewind = rewind},
};

}  // namespace

std::span<const taker> takers() {
  return list;
}

const taker& taker_called(std::string_view name) {
  for (const taker& each : list) {
    if (each.name == name) return each;
  }
  throw std::runtime_error("no memory resource is called " + std::string(name));
}

}  // namespace demo
