#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/environment.hpp>
#include <cistern/detail/base/never_destroyed.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/possible_size.hpp>
#include <cistern/page_resource.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <typeinfo>

#include <sys/resource.h>

namespace cistern {
namespace {

// Relaxed: a figure for reports; nothing is published through it.
constinit std::atomic<std::size_t> all_held_bytes{0};

/// Statics of the user may free after ours would have died.
constinit detail::never_destroyed<page_resource> only;

std::size_t address_space_limit_bytes() noexcept {
  rlimit limit{};
  const bool limited = ::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  return limited ? static_cast<std::size_t>(limit.rlim_cur) : SIZE_MAX;
}

/// In a hardened build each piece lies between pages that nobody may touch.
std::size_t guard_bytes() noexcept {
  return detail::hardened_build ? detail::os_page_bytes() : 0;
}

[[noreturn]] void refuse(const char* reason, std::size_t bytes, std::size_t limit_bytes) {
  throw bad_allocation(reason, bytes, limit_bytes, page_resource::held_bytes());
}

}  // namespace

std::size_t page_resource::held_bytes() noexcept {
  return all_held_bytes.load(std::memory_order_relaxed);
}

void* page_resource::do_allocate(std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
  detail::expect_possible_size(bytes, held_bytes());
  const std::size_t whole_bytes = detail::whole_pages(bytes);
  const bool huge = huge_pages_ == huge_pages::welcome && whole_bytes >= detail::huge_page_bytes;
  const std::size_t boundary = huge ? std::max(alignment, detail::huge_page_bytes) : alignment;
  void* block = detail::hardened_build ? detail::map_guarded_pages(whole_bytes, boundary, guard_bytes())
                                       : detail::map_pages(whole_bytes, boundary);
  if (block == nullptr) {
    refuse("the system has no pages left for", bytes, address_space_limit_bytes());
  }
  if (huge) {
    detail::advise_huge_pages(block, whole_bytes);
  }
  all_held_bytes.fetch_add(whole_bytes, std::memory_order_relaxed);
  return block;
}

void page_resource::do_deallocate(void* block, std::size_t bytes, [[maybe_unused]] std::size_t alignment) {
  CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
  const std::size_t whole_bytes = detail::whole_pages(bytes);
  detail::unmap_guarded_pages(block, whole_bytes, guard_bytes());
  all_held_bytes.fetch_sub(whole_bytes, std::memory_order_relaxed);
}

bool page_resource::do_is_equal(const std::pmr::memory_resource& other) const noexcept {
  // Not by dynamic_cast: it reads the type_info of `other`, and in a program without RTTI that is null.
  return &typeid(other) == &typeid(page_resource);
}

page_resource* pages() noexcept {
  static page_resource* const made =
      &only.make(detail::environment_says_huge_pages() ? huge_pages::welcome : huge_pages::unasked);
  return made;
}

}  // namespace cistern
