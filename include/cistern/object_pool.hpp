// object_pool: reusable objects and connections, given out as leases.
#pragma once

#include <cistern/async_acquire.hpp>
#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/objects/stop_token.hpp>
#include <cistern/detail/objects/typed_per_thread_control.hpp>
#include <cistern/detail/objects/typed_shared_control.hpp>
#include <cistern/lease.hpp>
#include <cistern/object_lifecycle.hpp>
#include <cistern/object_pool_options.hpp>
#include <cistern/object_pool_policy.hpp>
#include <cistern/object_pool_statistics.hpp>
#include <cistern/pool_error.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <memory_resource>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

namespace cistern {

namespace detail {
template <class T, class Lifecycle, class Policy>
struct control_of;
template <class T, class Lifecycle>
struct control_of<T, Lifecycle, shared> : std::type_identity<typed_shared_control<T, Lifecycle>> {};
template <class T, class Lifecycle>
struct control_of<T, Lifecycle, per_thread> : std::type_identity<typed_per_thread_control<T, Lifecycle>> {};
}  // namespace detail

/// A pool of objects of type T, made by `Lifecycle` and given out one user at a time. `Policy` is `shared` or
/// `per_thread`: see object_pool_policy.hpp for what they promise and cost.
///
/// All member functions may be called from any thread at any time, except construction and destruction. The
/// functions of the lifecycle run outside any lock, on the thread whose call needs them; there is no hidden
/// thread. Destruction closes the pool; leases may outlive it, and so must the memory resource and whatever
/// the lifecycle refers to. T needs no default, copy or move constructor.
template <class T, class Lifecycle, class Policy>
class object_pool {
  static_assert(std::same_as<Policy, shared> || std::same_as<Policy, per_thread>,
                "the policies are shared and per_thread");
  static_assert(object_lifecycle<Lifecycle, T>, "the lifecycle needs a member T create()");

  static constexpr bool create_is_noexcept = noexcept(std::declval<Lifecycle&>().create());
  // An exception out of `validate` stays inside, but the end of the thread must get out.
  static constexpr bool validate_is_noexcept = [] {
    if constexpr (detail::has_validate<Lifecycle, T>) {
      return noexcept(std::declval<Lifecycle&>().validate(std::declval<T&>()));
    }
    return true;
  }();

 public:
  using value_type = T;
  using lifecycle_type = Lifecycle;

  /// Creates `options.initial` objects. `resource` (nullptr: new/delete) serves the pool's own memory and its
  /// objects', under its mutex; an object's goes back when it is destroyed. `clock` is where the pool reads
  /// the time (must be monotonic).
  ///
  /// Throws `std::invalid_argument` naming the field and value of an option that makes no sense; `pool_error`
  /// (`factory_failed`, with its cause) if the factory throws, after destroying what it had made.
  explicit object_pool(const object_pool_options& options = {}, Lifecycle lifecycle = Lifecycle{},
                       std::pmr::memory_resource* resource CISTERN_LIFETIMEBOUND = nullptr,
                       pool_clock clock = &std::chrono::steady_clock::now)
      : control_(detail::make_control<control>(options, std::move(lifecycle),
                                               resource_or_new_delete(resource), clock)) {}
  object_pool(const object_pool&) = delete;
  object_pool& operator=(const object_pool&) = delete;
  /// Closes the pool. (Not inlined: in a `std::optional` g++ 12 takes `control_` for uninitialized.)
  [[gnu::noinline]] ~object_pool() { control_->orphan(); }

  /// An idle object, or a new one, or, with `when_empty::block`, the next that is given back, waiting for at
  /// most `acquire_timeout`.
  ///
  /// Waiters are served in order; a thread gives up the processor a few times before it becomes one.
  ///
  /// Throws `pool_error` with any `pool_errc` but `cancelled`. `would_deadlock` is only thrown with
  /// `detect_deadlock`, to a wait without an end after which every object would be held by threads in such a
  /// wait on this pool, and to one of them if that comes about because `resize` left fewer.
  lease<T> acquire(source_location where = source_location::current()) { return control_->acquire(where); }

  /// As `acquire`, but never waits: nullopt if nothing is idle and `max_size` is reached, or if the pool is
  /// closed. Throws `pool_error` (`factory_failed`), or what the memory resource throws. If `create` and
  /// `validate` are noexcept so is this, and a resource that throws, whatever it throws, is one more reason
  /// for nullopt; if only `create` is, so is `std::bad_alloc`.
  std::optional<lease<T>> try_acquire(source_location where = source_location::current()) noexcept(
      create_is_noexcept&& validate_is_noexcept) {
    try {
      auto result = control_->try_acquire(where);
      return result ? std::optional(std::move(result)) : std::nullopt;
    } catch (const std::bad_alloc&) {
      if constexpr (!create_is_noexcept) {
        throw;
      }
    } catch (...) {
      if constexpr (!create_is_noexcept || !validate_is_noexcept) {
        throw;  // it may be the end of a thread
      }
    }
    return std::nullopt;
  }

  /// As `acquire`, but waits until `deadline` (by the pool's clock), or until `stop` is triggered. Both are
  /// looked at after every function of the lifecycle that runs: an object whose creation or validation
  /// outlives them stays in the pool. A deadline that is past from the start asks for what is idle.
  template <class Duration>
  lease<T> acquire_until(const std::chrono::time_point<std::chrono::steady_clock, Duration>& deadline,
                         std::stop_token stop = {}, source_location where = source_location::current()) {
    return control_->acquire({detail::saturated(deadline), std::move(stop), true}, where);
  }
  /// As `acquire_until`, `timeout` from now; `forever`, or longer, is no deadline.
  template <class Rep, class Period>
  lease<T> acquire_for(const std::chrono::duration<Rep, Period>& timeout, std::stop_token stop = {},
                       source_location where = source_location::current()) {
    return control_->acquire({control_->deadline_after(detail::saturated(timeout)), std::move(stop), true},
                             where);
  }

  /// `co_await pool.acquire_async()` is `acquire` for coroutines: it queues with the blocked threads, and
  /// gives or throws the same, except `would_deadlock`. When the wait is over, `executor(coroutine)` is
  /// called with a `std::coroutine_handle<>` to be resumed once, anywhere; it must not throw. Without an
  /// executor the coroutine goes on inside the call that ended the wait.
  ///
  /// There is no hidden thread: a coroutine's deadline is noticed by `maintain`. A coroutine destroyed while
  /// it waits, on any thread, leaves the queue: afterwards its executor isn't called. If another thread is
  /// calling it just then, the destruction waits for that call (so hold no lock that the executor takes), and
  /// the handle that it was given must not be resumed.
  template <std::invocable<std::coroutine_handle<>> Executor = inline_executor>
  [[nodiscard]] auto acquire_async(Executor executor = {},
                                   source_location where = source_location::current()) CISTERN_LIFETIMEBOUND {
    return acquire_async_until(control_->deadline_after(control_->options().acquire_timeout), {},
                               std::move(executor), where);
  }
  /// As `acquire_async`, but waits until `deadline`, or until `stop` is triggered.
  template <std::invocable<std::coroutine_handle<>> Executor = inline_executor>
  [[nodiscard]] auto acquire_async_until(
      time_point deadline, std::stop_token stop = {}, Executor executor = {},
      source_location where = source_location::current()) CISTERN_LIFETIMEBOUND {
    return control_->acquire_async({deadline, std::move(stop), true}, std::move(executor), where);
  }

  /// Takes in an object made elsewhere and returns true, if there is room for it; otherwise leaves it alone
  /// and returns false. The strong guarantee holds if T's move constructor has none to lose.
  bool adopt(T&& object) requires std::move_constructible<T> { return control_->adopt(std::move(object)); }
  /// Creates objects until `idle_objects` are idle, or there is no more room. Throws `pool_error`
  /// (`factory_failed`); those made before stay.
  void warm(std::size_t idle_objects) { control_->warm(idle_objects); }
  /// Changes `max_size`. Idle objects beyond it are destroyed at once, those in use when they come back; new
  /// room goes to waiters. Throws `std::invalid_argument`.
  void resize(std::size_t max_size) { control_->resize(max_size); }
  /// Destroys the idle objects for which `predicate(const T&)` is true; returns how many. While it looks,
  /// idle objects can't be acquired. If `predicate` throws, the objects not yet condemned stay. O(idle).
  template <std::predicate<const T&> Predicate>
  std::size_t evict_if(Predicate predicate) {
    return control_->evict_if(predicate);
  }
  /// Destroys every object that exists now: the idle ones at once, the others when they come back.
  void invalidate_all() noexcept { control_->invalidate_all(); }
  /// Destroys idle objects, those to be given out last first, until `keep_idle` are left; a per-thread pool
  /// only those that were idle before its last trim, too. Returns how many. O(idle).
  std::size_t trim(std::size_t keep_idle = 0) noexcept { return control_->trim(keep_idle); }
  /// Does what time demands: ends waits whose deadline has passed, destroys objects idle too long or too old,
  /// lets a failing factory try again, keeps up `min_idle`. Returns when it next has work
  /// (`time_point::max()`: no time known). Errors of the factory are counted, not thrown. O(idle + waiting).
  time_point maintain(time_point now) { return control_->maintain(now); }
  time_point maintain() { return maintain(control_->now()); }
  /// From now on every acquire fails with `closed`, as do all waits. Idle objects are destroyed now, the
  /// others when they come back. Idempotent.
  void close() noexcept { control_->close(); }
  /// Closes the pool, waits until every object has come back or `deadline` has passed, and reports those that
  /// have not. The deadline is by the pool's clock; one that is moved by hand is looked at again in
  /// `maintain`.
  template <class Duration>
  [[nodiscard]] drain_report drain(
      const std::chrono::time_point<std::chrono::steady_clock, Duration>& deadline) {
    return control_->drain(detail::saturated(deadline));
  }
  template <class Rep, class Period>
  [[nodiscard]] drain_report drain(const std::chrono::duration<Rep, Period>& timeout) {
    return control_->drain(control_->deadline_after(detail::saturated(timeout)));
  }

  /// O(objects).
  [[nodiscard]] object_pool_statistics statistics() const { return control_->statistics(); }
  /// Objects ready to be given out. O(1); O(threads) with `per_thread`.
  [[nodiscard]] std::size_t idle() const noexcept { return control_->idle(); }
  /// Whether the accounts and lists agree with each other: for tests.
  [[nodiscard]] bool check_invariants() const noexcept { return control_->check_invariants(); }

 private:
  using control = typename detail::control_of<T, Lifecycle, Policy>::type;
  control* control_;
};

/// Makes a pool from functions: `create` returns an object; `reset(T&)`, `bool validate(T&)` and
/// `destroy(T&&)` as in `object_lifecycle`, `no_hook{}` for one that is not wanted.
template <class Policy = shared, class Create, class Reset = no_hook, class Validate = no_hook,
          class Destroy = no_hook>
[[nodiscard]] auto make_object_pool(const object_pool_options& options, Create create, Reset reset = {},
                                    Validate validate = {}, Destroy destroy = {},
                                    std::pmr::memory_resource* resource CISTERN_LIFETIMEBOUND = nullptr,
                                    pool_clock clock = &std::chrono::steady_clock::now) {
  using lifecycle = function_lifecycle<Create, Reset, Validate, Destroy>;
  return object_pool<typename lifecycle::value_type, lifecycle, Policy>(
      options, lifecycle(std::move(create), std::move(reset), std::move(validate), std::move(destroy)),
      resource, clock);
}

}  // namespace cistern
