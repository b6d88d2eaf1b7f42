// limit_adaptor: a hard ceiling on the bytes that any upstream hands out through it.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory_resource>

namespace cistern {

/// Refuses a request that would take what it has handed out above `limit_bytes()`; passes all others on.
///
/// Counts bytes as they are asked for: what upstream rounds up or keeps in books of its own is not seen here.
/// A request of no bytes always fits.
///
/// Thread-safe if upstream is, without a lock: the bytes are reserved before upstream is called, so that
/// threads together never exceed the limit, and given back where upstream throws. While upstream is being
/// asked, other threads see the reservation. O(1) beside upstream's cost; allocates nothing itself. What is
/// thrown leaves everything as it was. Equality is identity.
class limit_adaptor : public std::pmr::memory_resource {
 public:
  /// At most `limit_bytes` from `upstream`; null means new/delete.
  explicit limit_adaptor(std::size_t limit_bytes,
                         std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr) noexcept
      : upstream_(resource_or_new_delete(upstream)), limit_bytes_(limit_bytes) {}

  limit_adaptor(const limit_adaptor&) = delete;
  limit_adaptor& operator=(const limit_adaptor&) = delete;
  ~limit_adaptor() override = default;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return upstream_; }

  /// Like `allocate`, but null where the limit refuses or upstream throws `std::bad_alloc`. Passes other
  /// exceptions of upstream on.
  [[nodiscard]] void* try_allocate(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t));

  [[nodiscard]] std::size_t limit_bytes() const noexcept {
    return limit_bytes_.load(std::memory_order_relaxed);
  }
  /// Changes the limit. It may be less than is held: then nothing more is granted until enough was freed.
  void set_limit_bytes(std::size_t limit_bytes) noexcept {
    limit_bytes_.store(limit_bytes, std::memory_order_relaxed);
  }

  /// Bytes handed out and not yet freed, with those that upstream is being asked for just now.
  [[nodiscard]] std::size_t held_bytes() const noexcept {
    return held_bytes_.load(std::memory_order_relaxed);
  }
  /// The largest request that would be granted now; 0 when the limit is reached.
  [[nodiscard]] std::size_t available_bytes() const noexcept;
  /// The most `held_bytes()` was when a request succeeded.
  [[nodiscard]] std::size_t peak_bytes() const noexcept {
    return peak_bytes_.load(std::memory_order_relaxed);
  }
  /// Requests that the limit refused; failures of upstream don't count.
  [[nodiscard]] std::uint64_t refusals() const noexcept { return refusals_.load(std::memory_order_relaxed); }

 protected:
  /// Throws `bad_allocation` where the limit refuses; its text names the bytes asked for, the limit, and what
  /// is held.
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  /// `bytes` at most `held_bytes()`, as is so for whatever was allocated here.
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  [[nodiscard]] void* allocate_reserved(std::size_t bytes, std::size_t alignment, std::size_t held_bytes);

  // All relaxed: see atomic_count.
  std::pmr::memory_resource* upstream_;
  std::atomic<std::size_t> limit_bytes_;
  std::atomic<std::size_t> held_bytes_{0};
  std::atomic<std::size_t> peak_bytes_{0};
  std::atomic<std::uint64_t> refusals_{0};
};

}  // namespace cistern
