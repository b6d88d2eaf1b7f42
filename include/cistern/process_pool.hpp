// process_pool: one pool for the whole process, there from first use until the process is gone.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/synchronized_pool_resource.hpp>

#include <atomic>

namespace cistern {

namespace detail {

/// Null until the pool is made. Acquire pairs with the release in `make_process_pool`: without it a thread
/// could see the pointer before what the constructor wrote.
extern constinit std::atomic<synchronized_pool_resource*> process_pool_pointer;

[[nodiscard]] synchronized_pool_resource* make_process_pool();

/// The pool that a block comes from which this copy of the library is handed before it has asked for the pool
/// itself. Ends the program with a message where no copy with the same ABI has made one.
[[nodiscard]] synchronized_pool_resource& pool_of_copies(const void* block) noexcept;

}  // namespace detail

/// The pool of the process: made on the first call, over pages from the system (`page_resource`), with
/// default options, and never destroyed. Works in constructors and destructors of static and thread_local
/// objects, as early and as late as these run.
///
///     std::pmr::set_default_resource(cistern::process_pool());
///
/// With CISTERN_PASS_THROUGH=1 in the environment of the first call it hands every request to new/delete, one
/// by one; under AddressSanitizer it pools, over new/delete, so that the search for leaks sees what lies in
/// it.
///
/// One for all copies of the library in a process, as plug-ins bring their own, that are of the same version
/// and were built alike: the copy that was loaded first has it, and stays loaded from then on.
///
/// Throws `std::bad_alloc` on the first call if there is no memory to note the pool down; a later call tries
/// again. O(1); thread-safe.
[[nodiscard]] inline synchronized_pool_resource* process_pool() {
  synchronized_pool_resource* const pool = detail::process_pool_pointer.load(std::memory_order_acquire);
  return pool != nullptr ? pool : detail::make_process_pool();
}

}  // namespace cistern
