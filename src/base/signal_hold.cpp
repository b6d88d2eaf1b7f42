#include "sigpipe_hold.hpp"

#include <cistern/detail/base/errno_keeper.hpp>

#include <ctime>

namespace cistern::detail {
namespace {

sigset_t only_sigpipe() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  return set;
}

}  // namespace

sigpipe_hold::sigpipe_hold() noexcept {
  const sigset_t sigpipe = only_sigpipe();
  ::pthread_sigmask(SIG_BLOCK, &sigpipe, &mask_before_);
  blocked_before_ = sigismember(&mask_before_, SIGPIPE) == 1;
  if (blocked_before_) {  // else a pending one would have been delivered
    sigset_t pending;
    sigpending(&pending);
    pending_before_ = sigismember(&pending, SIGPIPE) == 1;
  }
}

sigpipe_hold::~sigpipe_hold() {
  if (!blocked_before_) {
    ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  }
}

void sigpipe_hold::take_own() const noexcept {
  if (pending_before_) {
    return;
  }
  // A write raises the signal for its own thread, whose signals are taken before those of the process.
  const errno_keeper error;
  const sigset_t sigpipe = only_sigpipe();
  const timespec at_once{};
  while (::sigtimedwait(&sigpipe, nullptr, &at_once) < 0 && errno == EINTR) {
  }
}

}  // namespace cistern::detail
