// lease: an object on loan from an object pool, given back once and only once.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/objects/pool_slot.hpp>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace cistern {

/// Sole access to one pooled object, until it is given back, discarded or detached.
///
/// Move-only: an object goes back once, by type. May outlive its pool: an object given back to a closed or
/// destroyed pool is destroyed. A lease may be moved to another thread; one lease is for one thread at a
/// time.
template <class T>
class [[nodiscard]] lease {
 public:
  using element_type = T;

  /// Empty. Every use but assignment, `swap`, destruction and the bool test asserts in checked builds.
  lease() noexcept = default;
  lease(lease&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  lease& operator=(lease&& other) noexcept {
    if (this != &other) {
      give_back();
      slot_ = std::exchange(other.slot_, nullptr);
    }
    return *this;
  }
  lease(const lease&) = delete;
  lease& operator=(const lease&) = delete;
  /// Gives the object back.
  ~lease() { give_back(); }

  [[nodiscard]] explicit operator bool() const noexcept { return slot_ != nullptr; }
  [[nodiscard]] T& operator*() const noexcept CISTERN_LIFETIMEBOUND { return used().object; }
  [[nodiscard]] T* operator->() const noexcept CISTERN_LIFETIMEBOUND { return std::addressof(used().object); }
  [[nodiscard]] T* get() const noexcept CISTERN_LIFETIMEBOUND {
    return slot_ != nullptr ? std::addressof(slot_->object) : nullptr;
  }

  /// Gives the object back and leaves the lease empty; does nothing if it is empty. The lifecycle's `reset`
  /// runs here, on this thread and outside any lock; if it throws, the object is destroyed instead.
  void give_back() noexcept {
    if (auto* slot = std::exchange(slot_, nullptr)) {
      slot->home->give_back(*slot);
    }
  }
  /// Destroys the object, which must not be used again (a broken connection), and makes room for another.
  void discard() noexcept {
    CISTERN_EXPECTS(slot_ != nullptr, "lease::discard: empty lease", 0);
    if (auto* slot = std::exchange(slot_, nullptr)) {
      slot->home->discard(*slot);
    }
  }
  /// Takes the object out of the pool for good and makes room for another. The lifecycle's `destroy` doesn't
  /// see it. If moving throws, the lease is as before.
  T detach() requires std::is_move_constructible_v<T> {
    // Nothing happens before the object is moved. Returned in place: there is no second move.
    T result(std::move(used().object));
    auto* const slot = std::exchange(slot_, nullptr);
    slot->home->detached(*slot);
    return result;
  }

  /// Time since the object was created. Reads the pool's clock.
  [[nodiscard]] duration age() const noexcept { return used().home->now() - slot_->created_at; }
  /// How often the object has been acquired, this time included.
  [[nodiscard]] std::uint64_t uses() const noexcept { return used().uses.load(std::memory_order_relaxed); }

  void swap(lease& other) noexcept { std::swap(slot_, other.slot_); }
  friend void swap(lease& a, lease& b) noexcept { a.swap(b); }

  /// For pools: takes over a slot whose object is leased.
  explicit lease(detail::typed_slot<T>* slot) noexcept : slot_(slot) {}

 private:
  [[nodiscard]] detail::typed_slot<T>& used() const noexcept {
    CISTERN_EXPECTS(slot_ != nullptr, "lease: empty lease used", 0);
    return *slot_;
  }

  detail::typed_slot<T>* slot_ = nullptr;
};

}  // namespace cistern
