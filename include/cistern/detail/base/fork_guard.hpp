// fork_guard: the one list of everything whose locks must be free, and whose data whole, in the child of a
// fork.
#pragma once

#include <cistern/detail/base/requirements.hpp>
#include <cistern/detail/base/thread_annotations.hpp>

namespace cistern::detail {

/// Sees the locks of a `fork_participant`, one after the other: to take each, or to let go of it. Locks of
/// any type with `lock`, `try_lock` and `unlock`.
class lock_visitor {
 public:
  /// False: the visit ends here.
  template <class Lock>
  [[nodiscard]] bool operator()(Lock& lock) noexcept {
    return visit(&lock, lock_calls{&typed<Lock>::lock, &typed<Lock>::try_lock, &typed<Lock>::unlock});
  }

 protected:
  struct lock_calls {
    void (*lock)(void*) noexcept;
    bool (*try_lock)(void*) noexcept;
    void (*unlock)(void*) noexcept;
  };
  ~lock_visitor() = default;
  virtual bool visit(void* lock, const lock_calls& calls) noexcept = 0;

 private:
  // Not for clang's analysis: who holds what here depends on what the visitor is for.
  template <class Lock>
  struct typed {
    static void lock(void* one) noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
      static_cast<Lock*>(one)->lock();
    }
    static bool try_lock(void* one) noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
      return static_cast<Lock*>(one)->try_lock();
    }
    static void unlock(void* one) noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
      static_cast<Lock*>(one)->unlock();
    }
  };
};

/// Something with locks that is used on both sides of a fork.
class fork_participant {
 public:
  fork_participant() noexcept = default;
  fork_participant(const fork_participant&) = delete;
  fork_participant& operator=(const fork_participant&) = delete;

  /// Visits every lock, in the order in which they are taken together, until the visitor has enough. Whether
  /// it got to the end.
  virtual bool each_lock(lock_visitor& visit) noexcept = 0;
  /// In the child, with all locks held: what other threads were about will never be finished. Calls no user
  /// code, and no `malloc`.
  virtual void forget_other_threads() noexcept {}

 protected:
  ~fork_participant() = default;

 private:
  friend class fork_guard;
  fork_participant* next_ = nullptr;
  fork_participant* previous_ = nullptr;
  bool listed_ = false;
};

/// From now on every fork happens with the participant's locks held by the thread that forks. Once is enough.
/// Throws `std::system_error` where the system can't be asked for this. Neither this nor its end may be
/// called with a lock held that a participant has: fork holds the list while it waits for these. O(1).
void hold_at_fork(fork_participant& participant);
/// The participant is about to go, and nobody else uses it any more. O(1).
void let_go_at_fork(fork_participant& participant) noexcept;

/// For what has a single lock and nothing to forget: a member behind that lock.
template <class Lock>
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): final, and never deleted through a base
class held_at_fork final : private fork_participant {
 public:
  explicit held_at_fork(Lock& lock) : lock_(lock) { hold_at_fork(*this); }
  ~held_at_fork() { let_go_at_fork(*this); }
  held_at_fork(const held_at_fork&) = delete;
  held_at_fork& operator=(const held_at_fork&) = delete;

 private:
  bool each_lock(lock_visitor& visit) noexcept override { return visit(lock_); }

  Lock& lock_;
};

}  // namespace cistern::detail
