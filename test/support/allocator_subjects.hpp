// The kinds of resource that a pool_allocator can stand on, each over memory that is checked.
#pragma once

#include <cistern/pool_allocator.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <memory_resource>
#include <type_traits>

namespace cistern::test_support {

/// A pool of its own over memory whose misuse aborts. `in_use_bytes` says what its users hold.
template <class Pool>
struct pool_subject {
  using resource_type = Pool;
  template <class T>
  using allocator = pool_allocator<T, Pool>;

  testing::checking_resource upstream;
  Pool pool{&upstream};

  template <class T = std::byte>
  [[nodiscard]] allocator<T> get() {
    return allocator<T>(&pool);
  }
  [[nodiscard]] bool holds_something() const { return pool.statistics().in_use_bytes != 0; }
};

using unsynchronized_subject = pool_subject<unsynchronized_pool_resource>;
using synchronized_subject = pool_subject<synchronized_pool_resource>;

/// Calls that stay virtual, on anything derived from memory_resource.
struct virtual_subject {
  using resource_type = std::pmr::memory_resource;
  template <class T>
  using allocator = pool_allocator<T, std::pmr::memory_resource>;

  testing::checking_resource upstream;

  template <class T = std::byte>
  [[nodiscard]] allocator<T> get() {
    return allocator<T>(&upstream);
  }
  [[nodiscard]] bool holds_something() const { return upstream.outstanding_blocks() != 0; }
};

}  // namespace cistern::test_support
