// async_acquire: waiting for a pooled object in a coroutine, in the same queue as blocked threads.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/objects/shared_control.hpp>
#include <cistern/detail/objects/stop_token.hpp>
#include <cistern/lease.hpp>
#include <cistern/pool_error.hpp>

#include <coroutine>
#include <optional>
#include <utility>

namespace cistern {

/// Resumes a coroutine on the spot: on the thread that gave the object back (or closed the pool, or noticed
/// the deadline), inside that call but outside the pool's lock. Resumptions don't nest: however many
/// coroutines pass objects on to each other this way, the stack grows by no more than a call for each pool.
struct inline_executor {
  void operator()(std::coroutine_handle<> coroutine) const { coroutine.resume(); }
};

namespace detail {

// What `co_await pool.acquire_async(...)` awaits. Lies in the coroutine's frame, and is its place in the
// queue.
template <class Control, class T, class Executor>
class acquire_awaiter : private waiter {
 public:
  acquire_awaiter(Control& control, acquire_request request, Executor executor, const source_location& where)
      : control_(control), request_(std::move(request)), executor_(std::move(executor)), where_(where) {}
  acquire_awaiter(const acquire_awaiter&) = delete;
  acquire_awaiter& operator=(const acquire_awaiter&) = delete;
  ~acquire_awaiter() {
    on_stop_.reset();
    if (queued) {
      control_.abandon(*this);
    } else if (grant_) {
      control_.return_grant(*grant_);
    }
  }

  [[nodiscard]] bool await_ready() {
    grant_ = control_.grant_at_once(request_);
    return grant_.has_value();
  }

  // False: there was no need to wait. Throws pool_error if waiting is out of the question.
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> coroutine) {
    coroutine_ = coroutine;
    resume = [](waiter& self) noexcept {
      auto& awaiter = static_cast<acquire_awaiter&>(self);
      // Copied out, because the coroutine may destroy the awaiter as soon as the executor has it.
      auto executor = std::move(awaiter.executor_);
      executor(std::exchange(awaiter.coroutine_, nullptr));
    };
    if (request_.stop.stop_possible()) {
      // Before the wait begins: afterwards this may be gone. Does nothing until then.
      on_stop_.emplace(request_.stop, cancel{this});
    }
    // Once queued, the coroutine may be running on another thread before this returns.
    return control_.obtain_or_queue(*this, grant_, request_);
  }

  lease<T> await_resume() {
    on_stop_.reset();
    if (queued) {
      grant_ = control_.collect(*this);
    }
    return control_.redeem_without_waiting(*std::exchange(grant_, std::nullopt), request_, where_);
  }

 private:
  struct cancel {
    acquire_awaiter* self;
    void operator()() const noexcept { self->control_.cancel(*self); }
  };

  Control& control_;
  acquire_request request_;
  [[no_unique_address]] Executor executor_;
  source_location where_;
  std::coroutine_handle<> coroutine_{};
  std::optional<pool_grant> grant_;
  std::optional<std::stop_callback<cancel>> on_stop_;
};

// The same for pools that never wait: what `Control::acquire` gives or throws.
template <class Control, class T>
class immediate_acquire {
 public:
  immediate_acquire(Control& control, acquire_request request, const source_location& where)
      : control_(control), request_(std::move(request)), where_(where) {}
  immediate_acquire(const immediate_acquire&) = delete;
  immediate_acquire& operator=(const immediate_acquire&) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  lease<T> await_resume() { return control_.acquire(request_, where_); }

 private:
  Control& control_;
  acquire_request request_;
  source_location where_;
};

}  // namespace detail
}  // namespace cistern
