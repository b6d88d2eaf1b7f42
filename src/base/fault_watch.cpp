#include <cistern/detail/base/errno_keeper.hpp>
#include <cistern/detail/base/fault_watch.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>

#include <csignal>
#include <cstddef>

#include "patient_lock.hpp"
#include "signal_text.hpp"
#include <ucontext.h>

namespace cistern::detail {
namespace {

fault_access access_of([[maybe_unused]] const void* context) noexcept {
#if defined(__x86_64__) && defined(REG_ERR)
  constexpr greg_t written = 2;  // of the processor's page fault error code
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  return (registers[REG_ERR] & written) != 0 ? fault_access::write : fault_access::read;
#else
  return fault_access::unknown;
#endif
}

void act_by_default(int number) noexcept {
  struct sigaction end = {};
  end.sa_handler = SIG_DFL;  // NOLINT(cppcoreguidelines-pro-type-union-access)
  ::sigaction(number, &end, nullptr);
}

bool is_set_to(const struct sigaction& action, void (*handler)(int, siginfo_t*, void*)) noexcept {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == handler;
}

/// The signal goes its way without us, as if we had never been there.
void pass_on(const struct sigaction& before, int number, siginfo_t* info, void* context) noexcept {
  const bool takes_info = (before.sa_flags & SA_SIGINFO) != 0;
  if (!takes_info && (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN)) {
    const bool is_fault = info->si_code > 0;  // Which can't be ignored, and happens again when we return.
    if (before.sa_handler == SIG_IGN && !is_fault) {
      return;
    }
    act_by_default(number);
    if (!is_fault) {
      ::raise(number);  // waits until we return
    }
    return;
  }
  if ((before.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) {
    act_by_default(number);
  }
  ::pthread_sigmask(SIG_BLOCK, &before.sa_mask, nullptr);
  if ((before.sa_flags & SA_NODEFER) != 0) {
    sigset_t this_one;
    ::sigemptyset(&this_one);
    ::sigaddset(&this_one, number);
    ::pthread_sigmask(SIG_UNBLOCK, &this_one, nullptr);
  }
  if (takes_info) {
    before.sa_sigaction(number, info, context);
  } else {
    before.sa_handler(number);
  }
}

}  // namespace

/// One in each copy of the library.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): final, and never deleted through a base
class fault_watch final : private fork_participant {
 public:
  constexpr fault_watch() noexcept = default;

  void add(fault_listener& one) {
    hold_at_fork(*this);
    const scoped_lock guard(lock_);
    one.previous_ = nullptr;
    one.next_ = first_;
    if (first_ != nullptr) {
      first_->previous_ = &one;
    }
    first_ = &one;
    for (watched_signal& each : signals_) {
      take_over(each);
    }
  }

  void remove(fault_listener& one) noexcept {
    const scoped_lock guard(lock_);
    (one.previous_ != nullptr ? one.previous_->next_ : first_) = one.next_;
    if (one.next_ != nullptr) {
      one.next_->previous_ = one.previous_;
    }
    if (first_ == nullptr) {
      for (watched_signal& each : signals_) {
        hand_back(each);
      }
    }
  }

 private:
  /// A kind of fault, and what the process did about it before us.
  struct watched_signal {
    int number;
    bool ours = false;  // Our handler is in place, or another was put over it.
    struct sigaction before = {};
  };

  static void on_signal(int number, siginfo_t* info, void* context) noexcept;

  void take_over(watched_signal& one) noexcept CISTERN_REQUIRES(lock_) {
    if (one.ours) {
      return;
    }
    // Known before we can be called. On an alternative stack, if the thread has one: what we pass on may be
    // that the stack is full.
    ::sigaction(one.number, nullptr, &one.before);
    struct sigaction ours = {};
    ours.sa_sigaction = on_signal;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&ours.sa_mask);
    one.ours = ::sigaction(one.number, &ours, nullptr) == 0;
  }

  static void hand_back(watched_signal& one) noexcept {
    struct sigaction now = {};
    if (one.ours && ::sigaction(one.number, nullptr, &now) == 0 && is_set_to(now, on_signal)) {
      one.ours = ::sigaction(one.number, &one.before, nullptr) != 0;
    }
  }

  void report(const void* address, fault_access access) noexcept {
    signal_text text;
    if (const patient_lock guard(lock_); guard.holds()) {
      ask_listeners(address, access, text);
    }
    if (!text.text().empty()) {
      text.write_to_stderr();
    }
  }

  // Not for clang's analysis: a lock that may have been taken.
  void ask_listeners(const void* address, fault_access access,
                     signal_text& text) noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
    for (fault_listener* one = first_; one != nullptr && !one->describe_fault(address, access, text);) {
      one = one->next_;
    }
  }

  bool each_lock(lock_visitor& visit) noexcept override { return visit(lock_); }

  mutex lock_;
  fault_listener* first_ CISTERN_GUARDED_BY(lock_) = nullptr;
  // Changed under the lock, while our handler isn't in place; read by the handler.
  watched_signal signals_[2] = {{SIGSEGV}, {SIGBUS}};
};

namespace {
constinit fault_watch this_copys_watch;
}  // namespace

void fault_watch::on_signal(int number, siginfo_t* info, void* context) noexcept {
  const errno_keeper keeper;
  if (info->si_code > 0) {  // not sent by somebody
    this_copys_watch.report(info->si_addr, access_of(context));
  }
  pass_on(this_copys_watch.signals_[number == SIGSEGV ? 0 : 1].before, number, info, context);
}

void watch_faults(fault_listener& listener) {
  this_copys_watch.add(listener);
}

void stop_watching_faults(fault_listener& listener) noexcept {
  this_copys_watch.remove(listener);
}

}  // namespace cistern::detail
