#include <cistern/detail/base/assert.hpp>
#include <cistern/pooled.hpp>

#include <cstdint>

namespace cistern::detail {

void* allocate_or_null(std::size_t bytes, std::size_t alignment) noexcept {
  try {
    return process_pool()->allocate(bytes, alignment);
  } catch (...) {
    return nullptr;
  }
}

void deallocate_unsized(void* block) noexcept {
  synchronized_pool_resource* const pool = process_pool_pointer.load(std::memory_order_acquire);
  if (block == nullptr || pool == nullptr) {
    return;
  }
  const auto found = pool->find(block);
  CISTERN_EXPECTS(found.has_value(), "operator delete: not a block of the process's pool",
                  reinterpret_cast<std::uintptr_t>(block));
  if (found) {
    pool->deallocate(block, found->bytes, found->alignment);
  }
}

}  // namespace cistern::detail
