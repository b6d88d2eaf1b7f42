// can_be_taken: whether a lock is free.
#pragma once

namespace cistern::test_support {

/// Takes the lock, if nobody holds it, and lets go of it.
template <class Lock>
[[nodiscard]] bool can_be_taken(Lock& lock) {
  if (lock.try_lock()) {
    lock.unlock();
    return true;
  }
  return false;
}

}  // namespace cistern::test_support
