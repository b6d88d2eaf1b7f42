#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/atomic_count.hpp>
#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/base/possible_size.hpp>

namespace cistern {

void* limit_adaptor::allocate_reserved(std::size_t bytes, std::size_t alignment, std::size_t held_bytes) {
  try {
    detail::expect_possible_size(bytes, held_bytes - bytes);
    void* const block = upstream_->allocate(bytes, alignment);
    detail::raise(peak_bytes_, held_bytes);
    return block;
  } catch (...) {
    held_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    throw;
  }
}

void* limit_adaptor::try_allocate(std::size_t bytes, std::size_t alignment) {
  const auto made = detail::reserve(held_bytes_, bytes, limit_bytes());
  if (!made.granted) {
    refusals_.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  try {
    return allocate_reserved(bytes, alignment, made.held_bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void* limit_adaptor::do_allocate(std::size_t bytes, std::size_t alignment) {
  const std::size_t limit = limit_bytes();
  const auto made = detail::reserve(held_bytes_, bytes, limit);
  if (!made.granted) {
    refusals_.fetch_add(1, std::memory_order_relaxed);
    throw bad_allocation("limit_adaptor refuses", bytes, limit, made.held_bytes);
  }
  return allocate_reserved(bytes, alignment, made.held_bytes);
}

void limit_adaptor::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(bytes <= held_bytes(), "limit_adaptor: more bytes are freed than were allocated", bytes);
  const detail::no_cancellation until_it_is_counted;  // and frees can't be unwound
  // Upstream first: what another thread then reserves is really free.
  upstream_->deallocate(block, bytes, alignment);
  held_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

std::size_t limit_adaptor::available_bytes() const noexcept {
  const std::size_t limit = limit_bytes();
  const std::size_t held = held_bytes();
  return held < limit ? limit - held : 0;
}

}  // namespace cistern
