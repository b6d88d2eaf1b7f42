// Every replaceable form of global operator new and delete, over the heap.
#include <cstddef>
#include <new>

#include "heap.hpp"
#include "new_failure.hpp"

#define CISTERN_EXPORT __attribute__((visibility("default")))

namespace {

using cistern::detail::current_new_handler;
using cistern::detail::heap;
using cistern::detail::new_or_null;
using cistern::detail::throw_bad_alloc;

constexpr std::size_t to_bytes(std::align_val_t alignment) noexcept {
  return static_cast<std::size_t>(alignment);
}

// [new.delete.single]: the handler makes memory available, or doesn't return; without one it's over.
[[gnu::cold, gnu::noinline]] void* allocate_with_handler(std::size_t bytes, std::size_t alignment) {
  for (;;) {
    const auto handler = current_new_handler();
    if (handler == nullptr) {
      throw_bad_alloc();
    }
    handler();
    if (void* block = heap::allocate(bytes, alignment); block != nullptr) {
      return block;
    }
  }
}

[[gnu::cold, gnu::noinline]] void* allocate_with_handler_or_null(std::size_t bytes,
                                                                 std::size_t alignment) noexcept {
  return current_new_handler() == nullptr ? nullptr : new_or_null(bytes, alignment);
}

inline void* allocate(std::size_t bytes, std::size_t alignment) {
  void* block = heap::allocate(bytes, alignment);
  return block != nullptr ? block : allocate_with_handler(bytes, alignment);
}

inline void* allocate_or_null(std::size_t bytes, std::size_t alignment) noexcept {
  void* block = heap::allocate(bytes, alignment);
  return block != nullptr ? block : allocate_with_handler_or_null(bytes, alignment);
}

}  // namespace

CISTERN_EXPORT void* operator new(std::size_t bytes) {
  return allocate(bytes, heap::least_alignment);
}
CISTERN_EXPORT void* operator new[](std::size_t bytes) {
  return allocate(bytes, heap::least_alignment);
}
CISTERN_EXPORT void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate_or_null(bytes, heap::least_alignment);
}
CISTERN_EXPORT void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate_or_null(bytes, heap::least_alignment);
}
CISTERN_EXPORT void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, to_bytes(alignment));
}
CISTERN_EXPORT void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, to_bytes(alignment));
}
CISTERN_EXPORT void* operator new(std::size_t bytes, std::align_val_t alignment,
                                  const std::nothrow_t&) noexcept {
  return allocate_or_null(bytes, to_bytes(alignment));
}
CISTERN_EXPORT void* operator new[](std::size_t bytes, std::align_val_t alignment,
                                    const std::nothrow_t&) noexcept {
  return allocate_or_null(bytes, to_bytes(alignment));
}

CISTERN_EXPORT void operator delete(void* block) noexcept {
  heap::deallocate(block, "operator delete");
}
CISTERN_EXPORT void operator delete[](void* block) noexcept {
  heap::deallocate(block, "operator delete");
}
CISTERN_EXPORT void operator delete(void* block, const std::nothrow_t&) noexcept {
  heap::deallocate(block, "operator delete");
}
CISTERN_EXPORT void operator delete[](void* block, const std::nothrow_t&) noexcept {
  heap::deallocate(block, "operator delete");
}
CISTERN_EXPORT void operator delete(void* block, std::size_t bytes) noexcept {
  heap::deallocate(block, bytes, heap::least_alignment);
}
CISTERN_EXPORT void operator delete[](void* block, std::size_t bytes) noexcept {
  heap::deallocate(block, bytes, heap::least_alignment);
}
CISTERN_EXPORT void operator delete(void* block, std::align_val_t) noexcept {
  heap::deallocate(block, "operator delete");
}
CISTERN_EXPORT void operator delete[](void* block, std::align_val_t) noexcept {
  heap::deallocate(block, "operator delete");
}
CISTERN_EXPORT void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept {
  heap::deallocate(block, "operator delete");
}
CISTERN_EXPORT void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept {
  heap::deallocate(block, "operator delete");
}
CISTERN_EXPORT void operator delete(void* block, std::size_t bytes, std::align_val_t alignment) noexcept {
  heap::deallocate(block, bytes, to_bytes(alignment));
}
CISTERN_EXPORT void operator delete[](void* block, std::size_t bytes, std::align_val_t alignment) noexcept {
  heap::deallocate(block, bytes, to_bytes(alignment));
}
