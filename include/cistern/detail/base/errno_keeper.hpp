// errno_keeper: `errno` as the caller had it, whatever the system is asked meanwhile.
#pragma once

#include <cerrno>

namespace cistern::detail {

/// Puts `errno` back at its end: a free must not change it, and nor must what tells a failure by its result.
class errno_keeper {
 public:
  errno_keeper() noexcept : value_(errno) {}
  ~errno_keeper() { errno = value_; }
  errno_keeper(const errno_keeper&) = delete;
  errno_keeper& operator=(const errno_keeper&) = delete;

 private:
  int value_;
};

}  // namespace cistern::detail
