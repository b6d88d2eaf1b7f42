#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>

#include <cstddef>
#include <system_error>

#include <pthread.h>
#include <sched.h>

namespace cistern::detail {
namespace {

/// How often a busy lock is tried, with a chance for others to run between: long enough for whoever is at
/// work under it, so that only those count as busy who may be waiting for us.
constexpr int patience = 400;

/// How often fork starts over before it takes the locks in the order of the list, come what may. Each time
/// the list learns one thing about the order of two participants.
constexpr int most_rounds = 1000;

// NOLINTBEGIN(cppcoreguidelines-virtual-class-destructor): final, and never deleted through a base

class taker final : public lock_visitor {
 public:
  [[nodiscard]] std::size_t taken() const noexcept { return taken_; }

 private:
  bool visit(void* lock, const lock_calls& calls) noexcept override {
    for (int i = 0; !calls.try_lock(lock); ++i) {
      if (i == patience) {
        return false;
      }
      ::sched_yield();
    }
    ++taken_;
    return true;
  }

  std::size_t taken_ = 0;
};

class waiting_taker final : public lock_visitor {
  bool visit(void* lock, const lock_calls& calls) noexcept override {
    calls.lock(lock);
    return true;
  }
};

/// Lets go of so many locks.
class releaser final : public lock_visitor {
 public:
  explicit releaser(std::size_t locks = static_cast<std::size_t>(-1)) noexcept : left_(locks) {}

 private:
  bool visit(void* lock, const lock_calls& calls) noexcept override {
    if (left_ == 0) {
      return false;
    }
    calls.unlock(lock);
    --left_;
    return true;
  }

  std::size_t left_;
};

// NOLINTEND(cppcoreguidelines-virtual-class-destructor)

bool try_lock_all(fork_participant& one) noexcept {
  taker take;
  if (one.each_lock(take)) {
    return true;
  }
  releaser release(take.taken());
  one.each_lock(release);
  return false;
}

void lock_all(fork_participant& one) noexcept {
  waiting_taker take;
  one.each_lock(take);
}

void unlock_all(fork_participant& one) noexcept {
  releaser release;
  one.each_lock(release);
}

}  // namespace

/// One in each copy of the library. Its lock is taken where participants come and go, and held throughout a
/// fork; whoever has a lock of a participant never takes it.
class fork_guard {
 public:
  constexpr fork_guard() noexcept = default;

  void add(fork_participant& one) {
    const scoped_lock guard(lock_);
    register_handlers();
    if (one.listed_) {
      return;
    }
    one.listed_ = true;
    // In front: a pool is mostly younger than its upstream, and has its locks taken first.
    put_in_front(one);
  }

  void remove(fork_participant& one) noexcept {
    const scoped_lock guard(lock_);
    if (one.listed_) {
      unlink(one);
      one.listed_ = false;
    }
  }

  void register_handlers() CISTERN_REQUIRES(lock_);
  static void register_at_load() noexcept;

 private:
  static void before() noexcept;
  static void after_in_parent() noexcept;
  static void after_in_child() noexcept;
  [[nodiscard]] fork_participant* try_lock_others() noexcept CISTERN_REQUIRES(lock_);
  void lock_participants() noexcept CISTERN_REQUIRES(lock_);

  void put_in_front(fork_participant& one) noexcept CISTERN_REQUIRES(lock_) {
    one.previous_ = nullptr;
    one.next_ = first_;
    if (first_ != nullptr) {
      first_->previous_ = &one;
    }
    first_ = &one;
  }
  void unlink(fork_participant& one) noexcept CISTERN_REQUIRES(lock_) {
    (one.previous_ != nullptr ? one.previous_->next_ : first_) = one.next_;
    if (one.next_ != nullptr) {
      one.next_->previous_ = one.previous_;
    }
  }

  mutex lock_;
  fork_participant* first_ CISTERN_GUARDED_BY(lock_) = nullptr;
  bool registered_ CISTERN_GUARDED_BY(lock_) = false;
};

namespace {
constinit fork_guard this_copys_guard;
}  // namespace

// glibc forgets the handlers of a module that is unloaded.
void fork_guard::register_handlers() {
  if (registered_) {
    return;
  }
  if (const int error = ::pthread_atfork(before, after_in_parent, after_in_child); error != 0) {
    throw std::system_error(error, std::generic_category(), "cistern: pthread_atfork");
  }
  registered_ = true;
}

// Not only when there is something to hold: a thread that forked while another was just registering would
// leave its child with a list that is locked for ever. The heap under malloc may be earlier still.
[[gnu::constructor(101)]] void register_fork_handlers() noexcept {
  fork_guard::register_at_load();
}
void fork_guard::register_at_load() noexcept {
  const scoped_lock guard(this_copys_guard.lock_);
  try {
    this_copys_guard.register_handlers();
  } catch (...) {  // whoever needs them will say so
  }
}

/// With the first held, takes all others. The one that stayed busy, and nothing but the first held; or null.
fork_participant* fork_guard::try_lock_others() noexcept {
  for (fork_participant* one = first_->next_; one != nullptr; one = one->next_) {
    if (!try_lock_all(*one)) {
      for (fork_participant* held = first_->next_; held != one; held = held->next_) {
        unlock_all(*held);
      }
      return one;
    }
  }
  return nullptr;
}

// Whoever allocates holds a lock of the pool and may wait for one of the upstream. So a pool has to come
// before its upstream, but the list doesn't know who is whose upstream. It finds out: a lock that stays busy
// may be held by a thread that waits for one of ours. Then we let go of everything, and begin with that one,
// for which we may wait as long as it takes, as we hold nothing else. It stays in front, for the next fork.
void fork_guard::lock_participants() noexcept {
  for (int round = 0; first_ != nullptr && round < most_rounds; ++round) {
    lock_all(*first_);
    fork_participant* const busy = try_lock_others();
    if (busy == nullptr) {
      return;
    }
    unlock_all(*first_);
    unlink(*busy);
    put_in_front(*busy);
  }
  for (fork_participant* one = first_; one != nullptr; one = one->next_) {
    lock_all(*one);
  }
}

// The handlers take the list's lock in one function and give it back in another.
void fork_guard::before() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  this_copys_guard.lock_.lock();
  this_copys_guard.lock_participants();
}

void fork_guard::after_in_parent() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  for (fork_participant* one = this_copys_guard.first_; one != nullptr; one = one->next_) {
    unlock_all(*one);
  }
  this_copys_guard.lock_.unlock();
}

void fork_guard::after_in_child() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  for (fork_participant* one = this_copys_guard.first_; one != nullptr; one = one->next_) {
    one->forget_other_threads();
  }
  after_in_parent();
}

void hold_at_fork(fork_participant& participant) {
  this_copys_guard.add(participant);
}

void let_go_at_fork(fork_participant& participant) noexcept {
  this_copys_guard.remove(participant);
}

}  // namespace cistern::detail
