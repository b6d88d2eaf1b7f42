// pool_error: the way from an error back to the pool that it is about, as long as that is there.
#pragma once

#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/pool_error.hpp>

#include <cstddef>
#include <vector>

namespace cistern::detail {

class object_pool_control;

/// Shared by a pool and its errors, which may outlive it. Its lock is taken before the pool's.
class lease_holders {
 public:
  using gatherer = std::vector<outstanding_lease> (*)(object_pool_control&, std::size_t most);

  lease_holders(object_pool_control& pool, gatherer how) noexcept : pool_(&pool), gather_(how) {}

  /// Who holds objects of the pool now, the longest held first, at most `most`; none if it is gone.
  [[nodiscard]] std::vector<outstanding_lease> gather(std::size_t most) {
    const scoped_lock lock(mutex_);
    return pool_ != nullptr ? gather_(*pool_, most) : std::vector<outstanding_lease>{};
  }
  /// The pool is about to go.
  void forget_pool() noexcept {
    const scoped_lock lock(mutex_);
    pool_ = nullptr;
  }
  /// For forks.
  [[nodiscard]] bool visit_lock(lock_visitor& visit) noexcept { return visit(mutex_); }

 private:
  mutex mutex_;
  object_pool_control* pool_ CISTERN_GUARDED_BY(mutex_);
  const gatherer gather_;
};

}  // namespace cistern::detail
