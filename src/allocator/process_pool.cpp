#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/environment.hpp>
#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/base/never_destroyed.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/process_pool.hpp>

#include <cstdint>
#include <memory_resource>

#include "library_copies.hpp"

#define CISTERN_TEXT_OF(name) CISTERN_TEXT(name)
#define CISTERN_TEXT(name) #name

namespace cistern::detail {
namespace {

// Pages hide what lies in them from tools: from a search for leaks, and, passed through, from everything.
std::pmr::memory_resource* upstream() {
  const bool tools_look = memory_checker_present() || environment_says_pass_through();
  return tools_look ? std::pmr::new_delete_resource() : pages();
}

constexpr std::uint64_t mixed(std::uint64_t hash, std::uint64_t part) noexcept {
  return (hash ^ part) * 0x100000001b3U;  // FNV-1a
}

/// What code of one copy knows of the pools of another: what program and library must have in common as well,
/// and sizes.
constexpr std::uint64_t our_abi() noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char letter : CISTERN_TEXT_OF(CISTERN_ABI_VERSION) CISTERN_TEXT_OF(CISTERN_ABI_CHECKS)
           CISTERN_TEXT_OF(CISTERN_ABI_STANDARD_LIBRARY)) {
    hash = mixed(hash, static_cast<unsigned char>(letter));
  }
  hash = mixed(hash, sizeof(synchronized_pool_resource));
  hash = mixed(hash, sizeof(thread_cache));
  hash = mixed(hash, sizeof(thread_record));
  return mixed(hash, asan_build ? 1 : 0);
}

synchronized_pool_resource* make_own_pool() {
  static constinit never_destroyed<synchronized_pool_resource> room;
  static synchronized_pool_resource* const pool = &room.make(upstream());
  return pool;
}

}  // namespace

constinit std::atomic<synchronized_pool_resource*> process_pool_pointer{nullptr};

// The note says where, relative to itself: so nothing of it depends on where the module lies.
[[gnu::used]] constinit library_copy cistern_this_copy{our_abi(), &make_own_pool, {nullptr}};
asm(R"(
    .pushsection .note.cistern, "a", %note
    .balign 4
    .long 8
    .long 4
    .long 1
    .asciz "Cistern"
    .long cistern_this_copy - .
    .popsection
)");

synchronized_pool_resource* make_process_pool() {
  library_copy& owner = first_copy();
  synchronized_pool_resource* const pool = owner.own_pool();
  owner.pool.store(pool, std::memory_order_release);            // pairs with the acquire in `pool_of_copies`
  process_pool_pointer.store(pool, std::memory_order_release);  // pairs with the acquire in `process_pool`
  return pool;
}

synchronized_pool_resource& pool_of_copies(const void* block) noexcept {
  synchronized_pool_resource* const pool = first_copy().pool.load(std::memory_order_acquire);
  if (pool == nullptr) {
    precondition_failed("operator delete: this process has no pool yet that the object could come from",
                        reinterpret_cast<std::uintptr_t>(block), __FILE__, __LINE__);
  }
  process_pool_pointer.store(pool, std::memory_order_release);
  return *pool;
}

}  // namespace cistern::detail
