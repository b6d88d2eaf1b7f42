// failing_resource: a memory_resource that fails the allocation it is told to fail.
#pragma once

#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/possible_size.hpp>
#include <cistern/detail/base/requirements.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>

namespace cistern::testing {

/// Passes every request to upstream, except those it is armed to fail with `std::bad_alloc`.
///
/// Not armed at first. Deallocations always go through. Thread-safe; O(1) beside upstream's cost. Equality is
/// identity.
class failing_resource : public std::pmr::memory_resource {
 public:
  /// `upstream` null: plain new/delete.
  explicit failing_resource(std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr) noexcept
      : upstream_(resource_or_new_delete(upstream)) {}

  failing_resource(const failing_resource&) = delete;
  failing_resource& operator=(const failing_resource&) = delete;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return upstream_; }

  /// Fails the `nth` allocation from now on (1: the very next), once. 0 disarms.
  void fail_nth(std::uint64_t nth) { arm(nth, false); }
  /// Fails the `nth` allocation from now on and every one after it, until armed otherwise. 0 disarms.
  void fail_from_nth(std::uint64_t nth) { arm(nth, true); }
  /// Fails nothing any more.
  void disarm() { arm(0, false); }

  /// Whether an allocation to come will fail.
  [[nodiscard]] bool armed() const {
    const cistern::detail::scoped_lock lock(mutex_);
    return countdown_ != 0;
  }
  /// Allocations asked for since construction, failed ones included.
  [[nodiscard]] std::uint64_t attempts() const {
    const cistern::detail::scoped_lock lock(mutex_);
    return attempts_;
  }
  /// Allocations failed on purpose since construction.
  [[nodiscard]] std::uint64_t failures() const {
    const cistern::detail::scoped_lock lock(mutex_);
    return failures_;
  }

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (next_one_fails()) throw std::bad_alloc();
    ::cistern::detail::expect_possible_size(bytes);
    return upstream_->allocate(bytes, alignment);
  }

  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    cistern::detail::give_back(*upstream_, ptr, bytes, alignment);
  }

  /// Identity.
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  void arm(std::uint64_t nth, bool keep_failing) {
    const cistern::detail::scoped_lock lock(mutex_);
    countdown_ = nth;
    keep_failing_ = keep_failing;
  }

  [[nodiscard]] bool next_one_fails() {
    const cistern::detail::scoped_lock lock(mutex_);
    ++attempts_;
    if (countdown_ == 0) return false;
    if (countdown_ > 1) {
      --countdown_;
      return false;
    }
    ++failures_;
    if (!keep_failing_) countdown_ = 0;
    return true;
  }

  std::pmr::memory_resource* upstream_;
  mutable cistern::detail::mutex mutex_;
  ::cistern::detail::held_at_fork<::cistern::detail::mutex> fork_guard_{mutex_};
  // Allocations until the failing one, which is number 1. 0: not armed.
  std::uint64_t countdown_ CISTERN_GUARDED_BY(mutex_) = 0;
  bool keep_failing_ CISTERN_GUARDED_BY(mutex_) = false;
  std::uint64_t attempts_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::uint64_t failures_ CISTERN_GUARDED_BY(mutex_) = 0;
};

}  // namespace cistern::testing
