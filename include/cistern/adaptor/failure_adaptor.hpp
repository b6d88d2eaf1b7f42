// failure_adaptor: asks a callback to make room when upstream is out of memory, and tries again.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory_resource>

namespace cistern {

/// Called when upstream threw `std::bad_alloc` for a request. Returns true to have the request tried again,
/// which is worth while only if it freed something, and false to give up. `std::current_exception()` is what
/// upstream threw. How often a request is tried is for the callback to bound: one that always returns true
/// is called for ever.
using failure_callback = std::function<bool(std::size_t bytes, std::size_t alignment)>;

/// Passes requests to upstream; where that throws `std::bad_alloc`, calls the callback, and tries again for
/// as long as the callback says so. Then upstream's last exception is passed on. What the callback throws is
/// passed on in its place. Other exceptions of upstream pass through at once.
///
/// The callback may use this adaptor: it may free blocks, and allocate. A request of its own that fails isn't
/// handed to the callback again, but ends in upstream's exception, so there is no endless recursion.
///
/// Thread-safe if upstream and the callback are: the callback is called by the thread whose request failed,
/// maybe by several at once, and under no lock. Costs a call of upstream; allocates nothing itself. Equality
/// is identity.
class failure_adaptor : public std::pmr::memory_resource {
 public:
  /// `upstream` null means new/delete. Precondition: `on_failure` is not empty.
  explicit failure_adaptor(failure_callback on_failure,
                           std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr);

  failure_adaptor(const failure_adaptor&) = delete;
  failure_adaptor& operator=(const failure_adaptor&) = delete;
  ~failure_adaptor() override = default;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return upstream_; }

  /// Times that upstream threw `std::bad_alloc`.
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }
  /// Times that the callback had a request tried again.
  [[nodiscard]] std::uint64_t retries() const noexcept { return retries_.load(std::memory_order_relaxed); }
  /// Requests that upstream refused at first and granted after a retry.
  [[nodiscard]] std::uint64_t rescued() const noexcept { return rescued_.load(std::memory_order_relaxed); }

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    detail::give_back(*upstream_, block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  [[nodiscard]] bool make_room(std::size_t bytes, std::size_t alignment);

  std::pmr::memory_resource* upstream_;
  failure_callback on_failure_;
  // Relaxed: they count, and publish nothing.
  std::atomic<std::uint64_t> failures_{0};
  std::atomic<std::uint64_t> retries_{0};
  std::atomic<std::uint64_t> rescued_{0};
};

}  // namespace cistern
