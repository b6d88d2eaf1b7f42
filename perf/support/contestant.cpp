#include "support/contestant.hpp"

#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <ostream>

#include "support/floor_resource.hpp"
#include "support/mimalloc_resource.hpp"
#include "support/nothing_resource.hpp"
#include "support/snmalloc_resource.hpp"
#include <malloc.h>

namespace perf {
namespace {

using resource_pointer = std::shared_ptr<std::pmr::memory_resource>;

template <class Pool>
resource_pointer make_pool(std::size_t) {
  return std::make_shared<Pool>();
}

resource_pointer make_floor(std::size_t one_block_bytes) {
  return std::make_shared<floor_resource>(one_block_bytes);
}

resource_pointer make_nothing(std::size_t) {
  return std::make_shared<nothing_resource>();
}

template <std::pmr::memory_resource* (*get)()>
resource_pointer use_global(std::size_t) {
  return {get(), [](std::pmr::memory_resource*) {}};
}

std::pmr::memory_resource* new_delete() {
  return std::pmr::new_delete_resource();
}

template <class Pool>
void print_statistics(std::ostream& out, std::pmr::memory_resource& pool) {
  out << dynamic_cast<Pool&>(pool).statistics();
}

template <class Pool>
void trim(std::pmr::memory_resource& pool) {
  dynamic_cast<Pool&>(pool).trim();
  malloc_trim(0);
}

void trim_malloc(std::pmr::memory_resource&) {
  malloc_trim(0);
}

void trim_mimalloc(std::pmr::memory_resource&) {
  mimalloc_collect();
}

void trim_found_mimalloc(std::pmr::memory_resource&) {
  mimalloc_found_collect();
}

/// One of our pools, with its default options over new/delete.
template <class Pool>
constexpr contestant ours(std::string_view name, bool thread_safe) {
  return {.name = name,
          .ours = true,
          .thread_safe = thread_safe,
          .make = make_pool<Pool>,
          .print_statistics = print_statistics<Pool>,
          .give_back = trim<Pool>};
}

constexpr contestant doing_nothing{.name = "nothing", .thread_safe = true, .make = make_nothing};

constexpr contestant list[] = {
    {.name = "floor", .one_size_only = true, .make = make_floor, .give_back = trim_malloc},
    ours<cistern::unsynchronized_pool_resource>("cistern-unsync", false),
    ours<cistern::synchronized_pool_resource>("cistern-sync", true),
    {.name = "mimalloc",
     .thread_safe = true,
     .global = true,
     .make = use_global<mimalloc_resource>,
     .give_back = trim_mimalloc},
    {.name = "mimalloc-sized",
     .thread_safe = true,
     .global = true,
     .by_default = false,
     .make = use_global<mimalloc_sized_resource>,
     .give_back = trim_mimalloc},
    {.name = "mimalloc-found",
     .thread_safe = true,
     .global = true,
     .there = mimalloc_named,
     .make = use_global<mimalloc_found_resource>,
     .give_back = trim_found_mimalloc},
    {.name = "snmalloc",
     .thread_safe = true,
     .global = true,
     .there = snmalloc_named,
     .make = use_global<snmalloc_resource>,
     .give_back = trim_malloc},
    {.name = "std-unsync",
     .make = make_pool<std::pmr::unsynchronized_pool_resource>,
     .give_back = trim_malloc},
    {.name = "std-sync",
     .thread_safe = true,
     .make = make_pool<std::pmr::synchronized_pool_resource>,
     .give_back = trim_malloc},
    {.name = "new/delete",
     .thread_safe = true,
     .global = true,
     .make = use_global<new_delete>,
     .give_back = trim_malloc},
};

}  // namespace

std::span<const contestant> contestants() {
  return list;
}

const contestant& nothing() {
  return doing_nothing;
}

bool takes_part(const contestant& who) {
  return who.by_default && (who.there == nullptr || who.there());
}

}  // namespace perf
