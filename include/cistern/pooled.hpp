// pooled: a base class that makes `new` and `delete` of a class use the process's pool.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/process_pool.hpp>

#include <atomic>
#include <cstddef>
#include <new>

namespace cistern {

namespace detail {

/// The alignment to ask a pool for where a class says nothing: its size tells. An object of n bytes is
/// aligned to no more than the largest power of two that divides n, and so are the pool's blocks for n bytes.
inline constexpr std::size_t natural_alignment = alignof(void*);

/// A block that is there came from a pool that is there. Acquire as in `process_pool`.
inline void deallocate_pooled(void* block, std::size_t bytes, std::size_t alignment) noexcept {
  if (block != nullptr) {
    synchronized_pool_resource* pool = process_pool_pointer.load(std::memory_order_acquire);
    if (pool == nullptr) [[unlikely]] {
      pool = &pool_of_copies(block);
    }
    pool->deallocate(block, bytes, alignment);
  }
}

/// For `new (std::nothrow)`: null where the pool throws.
[[nodiscard]] void* allocate_or_null(std::size_t bytes, std::size_t alignment) noexcept;

/// Gives back what a constructor that threw leaves behind, where the language doesn't say its size: the pool
/// is searched for it. O(chunks).
void deallocate_unsized(void* block) noexcept;

}  // namespace detail

/// Gives `T`, and all that derives from it, class-level `operator new` and `delete` from `process_pool()`.
/// One line changes:
///
///     struct order : cistern::pooled<order> { ... };
///
/// Covers single objects and arrays, over-aligned types, `new (std::nothrow)`, and leaves placement new as it
/// is. Deleting through a base takes a virtual destructor, as ever. Not covered: what doesn't come from a
/// new-expression of this class (`std::make_shared`, containers: see `pool_allocator`). `::new` and
/// `::delete` go past it, and must go together.
///
/// An empty class without constructors: `T` stays as large, and as trivial, as it was. It is a base, though:
/// an aggregate's braces begin with a pair for it (`order{{}, 1, 2}`). A class
/// that inherits from two pooled ones says whose operators it means: `using pooled<a>::operator new; using
/// pooled<a>::operator delete;` (and those with `[]`).
///
/// `new` throws `std::bad_alloc` (see `bad_allocation`) and doesn't call the new-handler. Thread-safe.
template <class T>
struct pooled {
  // NOLINTBEGIN(misc-new-delete-overloads): each has its delete, the sized one
  [[nodiscard]] static void* operator new(std::size_t bytes) {
    return process_pool()->allocate(bytes, detail::natural_alignment);
  }
  [[nodiscard]] static void* operator new[](std::size_t bytes) {
    return process_pool()->allocate(bytes, detail::natural_alignment);
  }
  [[nodiscard]] static void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return process_pool()->allocate(bytes, static_cast<std::size_t>(alignment));
  }
  [[nodiscard]] static void* operator new[](std::size_t bytes, std::align_val_t alignment) {
    return process_pool()->allocate(bytes, static_cast<std::size_t>(alignment));
  }

  [[nodiscard]] static void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
    return detail::allocate_or_null(bytes, detail::natural_alignment);
  }
  [[nodiscard]] static void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
    return detail::allocate_or_null(bytes, detail::natural_alignment);
  }
  [[nodiscard]] static void* operator new(std::size_t bytes, std::align_val_t alignment,
                                          const std::nothrow_t&) noexcept {
    return detail::allocate_or_null(bytes, static_cast<std::size_t>(alignment));
  }
  [[nodiscard]] static void* operator new[](std::size_t bytes, std::align_val_t alignment,
                                            const std::nothrow_t&) noexcept {
    return detail::allocate_or_null(bytes, static_cast<std::size_t>(alignment));
  }
  // NOLINTEND(misc-new-delete-overloads)

  // Sized forms only: where a class has both, the language takes the one without a size.
  static void operator delete(void* object, std::size_t bytes) noexcept {
    detail::deallocate_pooled(object, bytes, detail::natural_alignment);
  }
  static void operator delete[](void* objects, std::size_t bytes) noexcept {
    detail::deallocate_pooled(objects, bytes, detail::natural_alignment);
  }
  static void operator delete(void* object, std::size_t bytes, std::align_val_t alignment) noexcept {
    detail::deallocate_pooled(object, bytes, static_cast<std::size_t>(alignment));
  }
  static void operator delete[](void* objects, std::size_t bytes, std::align_val_t alignment) noexcept {
    detail::deallocate_pooled(objects, bytes, static_cast<std::size_t>(alignment));
  }

  // Called where the constructor throws. For over-aligned types compilers look for the form without a size,
  // but must not find it where they delete: a template is never a usual deallocation function. Inlined
  // without optimisation too, or g++ takes the template and the `new` above it for a mismatch
  // (-Wmismatched-new-delete).
  template <class = void>
  [[gnu::always_inline]] static void operator delete(void* object, std::align_val_t) noexcept {
    detail::deallocate_unsized(object);
  }
  template <class = void>
  [[gnu::always_inline]] static void operator delete[](void* objects, std::align_val_t) noexcept {
    detail::deallocate_unsized(objects);
  }
  static void operator delete(void* object, const std::nothrow_t&) noexcept {
    detail::deallocate_unsized(object);
  }
  static void operator delete[](void* objects, const std::nothrow_t&) noexcept {
    detail::deallocate_unsized(objects);
  }
  static void operator delete(void* object, std::align_val_t, const std::nothrow_t&) noexcept {
    detail::deallocate_unsized(object);
  }
  static void operator delete[](void* objects, std::align_val_t, const std::nothrow_t&) noexcept {
    detail::deallocate_unsized(objects);
  }

  // Placement, which the operators above would hide.
  [[nodiscard]] static void* operator new(std::size_t, void* place) noexcept { return place; }
  [[nodiscard]] static void* operator new[](std::size_t, void* place) noexcept { return place; }
  static void operator delete(void*, void*) noexcept {}
  static void operator delete[](void*, void*) noexcept {}
};

}  // namespace cistern
