// no_lock: stands for a lock where there is one thread only.
#pragma once

#include <cistern/detail/base/thread_annotations.hpp>

namespace cistern::detail {

/// Meets the standard's Lockable, and does nothing: for code that is written for many threads and is used
/// for one as well.
class CISTERN_CAPABILITY("mutex") no_lock {
 public:
  void lock() noexcept CISTERN_ACQUIRE() {}
  [[nodiscard]] bool try_lock() noexcept CISTERN_TRY_ACQUIRE(true) { return true; }
  void unlock() noexcept CISTERN_RELEASE() {}
};

}  // namespace cistern::detail
