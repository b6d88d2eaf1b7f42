#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/assert.hpp>

namespace cistern {

limit_adaptor::reservation limit_adaptor::reserve(std::size_t bytes) noexcept {
  std::size_t held = held_bytes_.load(std::memory_order_relaxed);
  for (;;) {
    const std::size_t limit = limit_bytes_.load(std::memory_order_relaxed);
    // `held` may exceed a limit that was lowered; the sum isn't formed before it is known to fit.
    if (bytes != 0 && (held > limit || bytes > limit - held)) {
      refusals_.fetch_add(1, std::memory_order_relaxed);
      return {false, limit, held};
    }
    if (held_bytes_.compare_exchange_weak(held, held + bytes, std::memory_order_relaxed)) {
      return {true, limit, held + bytes};
    }
  }
}

void limit_adaptor::note_peak(std::size_t held_bytes) noexcept {
  std::size_t peak = peak_bytes_.load(std::memory_order_relaxed);
  while (peak < held_bytes &&
         !peak_bytes_.compare_exchange_weak(peak, held_bytes, std::memory_order_relaxed)) {
  }
}

void* limit_adaptor::allocate_reserved(std::size_t bytes, std::size_t alignment, std::size_t held_bytes) {
  try {
    void* const block = upstream_->allocate(bytes, alignment);
    note_peak(held_bytes);
    return block;
  } catch (...) {
    held_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    throw;
  }
}

void* limit_adaptor::try_allocate(std::size_t bytes, std::size_t alignment) {
  const reservation made = reserve(bytes);
  if (!made.granted) return nullptr;
  try {
    return allocate_reserved(bytes, alignment, made.held_bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void* limit_adaptor::do_allocate(std::size_t bytes, std::size_t alignment) {
  const reservation made = reserve(bytes);
  if (!made.granted) {
    throw bad_allocation("limit_adaptor refuses", bytes, made.limit_bytes, made.held_bytes);
  }
  return allocate_reserved(bytes, alignment, made.held_bytes);
}

void limit_adaptor::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(bytes <= held_bytes(), "limit_adaptor: more bytes are freed than were allocated", bytes);
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
