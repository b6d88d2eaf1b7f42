// typed_per_thread_control: the control block of a per-thread object pool of T: acquiring, and giving back.
#pragma once

#include <cistern/async_acquire.hpp>
#include <cistern/detail/objects/per_thread_control.hpp>
#include <cistern/detail/objects/typed_control.hpp>
#include <cistern/lease.hpp>

#include <memory_resource>
#include <utility>

namespace cistern::detail {

template <class T, class Lifecycle>
class typed_per_thread_control final : public typed_control<T, Lifecycle, per_thread_control> {
  using base = typed_control<T, Lifecycle, per_thread_control>;

 public:
  using base::base;
  ~typed_per_thread_control() = default;

  lease<T> acquire(const source_location& where) {
    duration::rep time = 0;
    pool_slot* slot = this->take_cached(time);
    if (slot == nullptr || this->needs_look(*slot)) [[unlikely]] {
      slot = obtain_slowly(slot, nullptr);
      time = this->read_time();
    }
    return this->lend(*slot, where, time);
  }

  lease<T> acquire(const acquire_request& request, const source_location& where) {
    this->expect_not_stopped(request);
    duration::rep time = 0;
    pool_slot* slot = this->take_cached(time);
    if (slot == nullptr || this->needs_look(*slot)) [[unlikely]] {
      slot = obtain_slowly(slot, &request);
      time = this->read_time();
    }
    return this->lend(*slot, where, time);
  }

  /// An empty lease if the pool is closed.
  lease<T> try_acquire(const source_location& where) {
    try {
      return acquire(where);
    } catch (const pool_error& error) {
      if (error.code() != pool_errc::closed) {
        throw;
      }
      return {};
    }
  }

  /// There is never a need to wait, so the executor is not called.
  template <class Executor>
  [[nodiscard]] auto acquire_async(acquire_request request, const Executor&, const source_location& where) {
    return immediate_acquire<typed_per_thread_control, T>(*this, std::move(request), where);
  }

  void give_back(pool_slot& slot) noexcept override {
    if (!this->clean_up(slot)) [[unlikely]] {
      return;
    }
    if (this->ages()) {
      keep_if_young(slot);
    } else {
      keep(slot);
    }
  }

 private:
  void keep(pool_slot& slot) noexcept {
    if (!this->keep_cached(slot)) [[unlikely]] {
      this->put_back(slot);
    }
  }
  /// Not inlined, as the next one: its frame would be paid for by every return.
  [[gnu::noinline]] void keep_if_young(pool_slot& slot) noexcept {
    if (this->still_young(slot)) {
      keep(slot);
    }
  }

  /// `found` is an object that the caller drew and that needs a look, or null; `given` is null if it is what
  /// the options say. Returns a slot and not a lease, which would have to lie in memory.
  [[gnu::noinline]] pool_slot* obtain_slowly(pool_slot* found, const acquire_request* given) {
    acquire_request usual;
    if (given == nullptr) {
      usual.deadline = this->deadline_after(this->options().acquire_timeout);
    }
    const acquire_request& request = given != nullptr ? *given : usual;
    const bool late_already = this->deadline_passed(request);
    for (;;) {
      if (found == nullptr) {
        found = this->take_elsewhere();
      }
      if (found == nullptr) {
        pool_slot& made = this->create_granted();
        this->give_up_if_late(made, request);
        return &made;
      }
      if (!this->reason_to_refuse(*found)) {
        this->give_up_if_validated_late(*found, request, late_already);
        return found;
      }
      this->dispose(*found, found->reason);
      found = nullptr;
      this->give_up_if_late(request);
    }
  }

  void destroy_self() noexcept override {
    std::pmr::polymorphic_allocator<> allocator(this->resource());
    allocator.delete_object(this);
  }
};

}  // namespace cistern::detail
