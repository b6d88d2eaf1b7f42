// pool_allocator: an ordinary standard allocator over a pool, for containers that aren't pmr.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/sized_block.hpp>
#include <cistern/synchronized_pool_resource.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

namespace cistern {

#if defined(__cpp_lib_allocate_at_least)
/// What `pool_allocator::allocate_at_least` returns: `ptr` to room for `count` objects.
template <class Pointer>
using allocation_result = std::allocation_result<Pointer, std::size_t>;
#else
/// What `pool_allocator::allocate_at_least` returns: `ptr` to room for `count` objects.
template <class Pointer>
struct allocation_result {
  Pointer ptr;
  std::size_t count;
};
#endif

namespace detail {

/// For an array that no memory can hold: throws `std::bad_array_new_length` where its size in bytes is no
/// `std::size_t`, else `bad_allocation`.
[[noreturn]] void refuse_array(std::size_t count, std::size_t element_bytes);

template <class Resource>
concept grants_more = requires(Resource& pool) {
  { pool.allocate_at_least(std::size_t{}, std::size_t{}) } -> std::same_as<sized_block>;
};

}  // namespace detail

/// An allocator for containers, `std::allocate_shared` and whatever else takes a standard allocator. It is a
/// pointer to a pool; the calls go to members of `Resource` itself, not through virtual functions, so the
/// fast paths of Cistern's pools inline and the look-up of a known size folds away.
///
/// `Resource` is one of Cistern's pools, or any class derived from `std::pmr::memory_resource` (for that
/// class itself the calls are virtual). The pool must outlive what was allocated from it. A null pool means
/// plain new/delete, with the same errors.
///
/// * Allocators are equal when they have the same pool.
/// * A copy keeps the pool, also the copy that a container's copy constructor makes
///   (`select_on_container_copy_construction`): there is no default pool to fall back to, and to lose the
///   pool in silence is worse than to share it.
/// * Assignment and swap of containers don't change a container's pool, as with `polymorphic_allocator`.
///   Moving between unequal pools moves the elements one by one; swapping between them is undefined.
///
/// `T` may be incomplete where the allocator is named, over-aligned, or void (for rebinding). Thread-safe as
/// far as `Resource` is.
template <class T, class Resource = synchronized_pool_resource>
class pool_allocator {
 public:
  using value_type = T;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using resource_type = Resource;
  using propagate_on_container_copy_assignment = std::false_type;
  using propagate_on_container_move_assignment = std::false_type;
  using propagate_on_container_swap = std::false_type;
  using is_always_equal = std::false_type;

  /// For code older than `std::allocator_traits`.
  template <class U>
  struct rebind {
    using other = pool_allocator<U, Resource>;
  };

  /// No pool: plain new/delete.
  constexpr pool_allocator() noexcept = default;

  /// From `pool`, which must outlive all that is allocated; null: plain new/delete.
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr pool_allocator(Resource* pool CISTERN_LIFETIMEBOUND) noexcept : pool_(pool) {}

  /// The same pool, for another type.
  template <class U>
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr pool_allocator(const pool_allocator<U, Resource>& other) noexcept : pool_(other.resource()) {}

  /// Room for `count` objects. Throws `std::bad_array_new_length` where their size overflows,
  /// `bad_allocation` where it is more than any object can have, and what the pool throws. O(1) but for what
  /// the pool gets from upstream.
  [[nodiscard]] T* allocate(std::size_t count) {
    const std::size_t bytes = bytes_of(count);
    if (pool_ == nullptr) {
      return std::allocator<T>().allocate(count);
    }
    return static_cast<T*>(pool_->allocate(bytes, alignof(T)));
  }

  /// The same, and says how many objects the block has room for: all of it may be used. `deallocate` then
  /// takes any count from the one asked for to the one granted.
  [[nodiscard]] allocation_result<T*> allocate_at_least(std::size_t count) {
    if constexpr (detail::grants_more<Resource>) {
      if (pool_ != nullptr) {
        const sized_block block = pool_->allocate_at_least(bytes_of(count), alignof(T));
        return {static_cast<T*>(block.ptr), block.bytes / sizeof(T)};
      }
    }
    return {allocate(count), count};
  }

  /// `objects` came from an equal allocator, for `count` objects; none of them is alive any more. O(1) but
  /// for what the pool gives back upstream.
  void deallocate(T* objects, std::size_t count) noexcept {
    CISTERN_EXPECTS(objects != nullptr, "deallocate: null is no block", 0);
    CISTERN_EXPECTS(count <= PTRDIFF_MAX / sizeof(T), "deallocate: more objects than any block holds", count);
    if (pool_ == nullptr) {
      std::allocator<T>().deallocate(objects, count);
    } else {
      pool_->deallocate(objects, count * sizeof(T), alignof(T));
    }
  }

  /// The pool, or null.
  [[nodiscard]] constexpr Resource* resource() const noexcept { return pool_; }

  /// A container's copy has the pool of the original.
  [[nodiscard]] constexpr pool_allocator select_on_container_copy_construction() const noexcept {
    return *this;
  }

 private:
  [[nodiscard]] static std::size_t bytes_of(std::size_t count) {
    if (count > PTRDIFF_MAX / sizeof(T)) [[unlikely]] {
      detail::refuse_array(count, sizeof(T));
    }
    return count * sizeof(T);
  }

  Resource* pool_ = nullptr;
};

/// Whether what one has allocated the other may free: they have the same pool, or none.
template <class T, class U, class Resource>
[[nodiscard]] constexpr bool operator==(const pool_allocator<T, Resource>& a,
                                        const pool_allocator<U, Resource>& b) noexcept {
  return a.resource() == b.resource();
}

}  // namespace cistern
