// fail_every_allocation: runs an operation with its 1st, 2nd, ... allocation failing until it completes.
#pragma once

#include <cistern/detail/base/requirements.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <cstdint>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace cistern::testing {

/// A sweep that proves nothing: no allocation to fail, no end, or a failure that nobody injected.
class sweep_error : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Which allocations of one run fail.
enum class failure_mode {
  once,          ///< Only the nth: shows what a retry makes of it.
  from_then_on,  ///< The nth and all after it: memory is out for good.
};

struct sweep_options {
  failure_mode mode = failure_mode::once;
  /// Runs after which the sweep gives up with `sweep_error`.
  std::uint64_t max_runs = 100'000;
};

/// How a sweep went: `runs == failed_runs + absorbed_runs + 1`.
struct sweep_result {
  std::uint64_t runs = 0;           ///< Times the operation was started, the last, undisturbed one included.
  std::uint64_t failed_runs = 0;    ///< Runs that ended in `std::bad_alloc`.
  std::uint64_t absorbed_runs = 0;  ///< Runs that completed although an allocation of theirs had failed.
};

namespace detail {

/// Disarms at the end, whatever happens.
class armed_scope {
 public:
  armed_scope(failing_resource& resource, std::uint64_t nth, failure_mode mode) : resource_(resource) {
    if (mode == failure_mode::once) {
      resource_.fail_nth(nth);
    } else {
      resource_.fail_from_nth(nth);
    }
  }
  ~armed_scope() { resource_.disarm(); }
  armed_scope(const armed_scope&) = delete;
  armed_scope& operator=(const armed_scope&) = delete;

 private:
  failing_resource& resource_;
};

/// Runs the operation with the nth allocation failing; returns whether it completed.
template <class Operation>
bool completes_with_failure(failing_resource& resource, Operation& operation, std::uint64_t nth,
                            failure_mode mode) {
  const std::uint64_t failures_before = resource.failures();
  try {
    const armed_scope scope(resource, nth, mode);
    std::invoke(operation);
    return true;
  } catch (const std::bad_alloc&) {
    if (resource.failures() == failures_before) {
      throw sweep_error(
          "fail_every_allocation: the operation threw std::bad_alloc with no allocation made to fail");
    }
    return false;
  }
}

}  // namespace detail

/// Runs `operation()` again and again, with the 1st, then the 2nd, ... allocation through `resource` failing,
/// until a run completes in which nothing failed.
///
/// After each run in which an allocation failed, `check_after_failure(failed)` is called with the resource
/// disarmed; `failed` is the number of the failed allocation. There the state is checked: unchanged after a
/// strong guarantee, nothing lost after any. The operation must do the same in each run, so it starts from
/// its own fresh state or from one that a failed run leaves unchanged.
///
/// Throws `sweep_error` when no allocation could be made to fail (the operation doesn't use `resource`), when
/// the operation doesn't complete within `options.max_runs` runs, and when it throws `std::bad_alloc` though
/// nothing was made to fail. Every other exception of the operation or of the check passes through.
/// `resource` is disarmed at the end in every case.
template <class Operation, class Check>
requires std::is_invocable_v<Operation&> && std::is_invocable_v<Check&, std::uint64_t> sweep_result
fail_every_allocation(failing_resource& resource, Operation&& operation, Check&& check_after_failure,
                      const sweep_options& options = {}) {
  sweep_result result;
  for (std::uint64_t nth = 1; result.runs < options.max_runs; ++nth) {
    const std::uint64_t failures_before = resource.failures();
    ++result.runs;
    const bool completed = detail::completes_with_failure(resource, operation, nth, options.mode);
    if (resource.failures() == failures_before) {
      if (nth == 1)
        throw sweep_error("fail_every_allocation: the operation made no allocation through the resource");
      return result;
    }
    ++(completed ? result.absorbed_runs : result.failed_runs);
    std::invoke(check_after_failure, nth);
  }
  throw sweep_error("fail_every_allocation: the operation did not complete within " +
                    std::to_string(options.max_runs) + " runs");
}

/// The same with nothing checked after a failure but that the next run works.
template <class Operation>
requires std::is_invocable_v<Operation&> sweep_result
fail_every_allocation(failing_resource& resource, Operation&& operation, const sweep_options& options = {}) {
  return fail_every_allocation(
      resource, std::forward<Operation>(operation), [](std::uint64_t) {}, options);
}

}  // namespace cistern::testing
