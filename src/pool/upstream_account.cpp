#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/atomic_count.hpp>
#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/upstream_account.hpp>

#include <algorithm>
#include <cstddef>
#include <new>
#include <typeinfo>

namespace cistern::detail {
namespace {

// One of the standard's own: what is derived from it may do otherwise.
bool is_monotonic(const std::pmr::memory_resource& upstream) noexcept {
  // Not by ==: it reads the type_info of `upstream`, and in a program without RTTI that is null.
  return &typeid(upstream) == &typeid(std::pmr::monotonic_buffer_resource);
}

}  // namespace

upstream_account::upstream_account(std::pmr::memory_resource* upstream, std::size_t max_bytes,
                                   bool gives_pages) noexcept
    : upstream_(upstream),
      max_bytes_(max_bytes),
      gives_pages_(gives_pages),
      is_new_delete_(upstream == std::pmr::new_delete_resource()),
      takes_back_(max_bytes != SIZE_MAX || !is_monotonic(*upstream)),
      is_watched_(memory_checker_present()),
      lists_are_shut_(is_watched_ && !asan_build) {}

void* upstream_account::try_allocate(std::size_t bytes, std::size_t alignment) {
  if (!reserve(bytes_, bytes, max_bytes_).granted) {
    return nullptr;
  }
  void* memory = nullptr;
  try {
    memory =
        source_ != nullptr ? source_->try_allocate(bytes, alignment) : upstream_->allocate(bytes, alignment);
  } catch (...) {
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    throw;
  }
  if (memory == nullptr) {
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    return nullptr;
  }
  allocations_.fetch_add(1, std::memory_order_relaxed);
  raise(peak_bytes_, this->bytes());  // after upstream has answered: a peak is memory that was really held
  return memory;
}

void upstream_account::deallocate_as(void* memory, std::size_t bytes, std::size_t alignment,
                                     std::size_t counted_bytes) noexcept {
  if (source_ != nullptr) {
    source_->deallocate(memory, bytes);
  } else {
    const no_cancellation in_upstream;  // frees can't be unwound
    upstream_->deallocate(memory, bytes, alignment);
  }
  bytes_.fetch_sub(counted_bytes, std::memory_order_relaxed);
  deallocations_.fetch_add(1, std::memory_order_relaxed);
}

bool upstream_account::reuses(std::size_t bytes) noexcept {
  if (gives_pages_ || is_new_delete_ || max_bytes_ != SIZE_MAX || !takes_back_) {
    return takes_back_;
  }
  constexpr std::size_t alignment = alignof(std::max_align_t);
  const no_cancellation in_upstream;
  try {
    deallocate(try_allocate(bytes, alignment), bytes, alignment);
    return true;
  } catch (...) {
    return false;  // whatever it says: the next request will be told
  }
}

void upstream_account::refuse_impossible(std::size_t bytes, std::size_t needed_bytes,
                                         std::size_t alignment) const {
  const bool is_asked = source_ == nullptr && max_bytes_ == SIZE_MAX && !is_new_delete_;
  if (is_asked && alignment < absurd_bytes) {
    // Room for what upstream adds and rounds up, or whoever is behind it: that may be `operator new` again.
    const std::size_t asked_bytes =
        std::min(needed_bytes, SIZE_MAX - 2 * std::max(alignment, std::size_t{page_bytes}));
    try {
      // None that it gives can be as large as that.
      upstream_->deallocate(upstream_->allocate(asked_bytes, alignment), asked_bytes, alignment);
    } catch (const std::bad_alloc&) {
    }
  }
  throw bad_allocation("request is larger than any object can be", bytes, PTRDIFF_MAX, this->bytes());
}

void upstream_account::refuse(std::size_t bytes, std::size_t needed_bytes) const {
  throw bad_allocation("max_bytes reached", bytes, needed_bytes, max_bytes(), this->bytes());
}

void upstream_account::add_to(pool_statistics& statistics) const noexcept {
  statistics.upstream_bytes = bytes();
  statistics.peak_upstream_bytes = peak_bytes_.load(std::memory_order_relaxed);
  statistics.upstream_allocations = allocations_.load(std::memory_order_relaxed);
  statistics.upstream_deallocations = deallocations_.load(std::memory_order_relaxed);
}

}  // namespace cistern::detail
