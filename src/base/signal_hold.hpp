// signal_hold: writing without the signal that a write may raise, where no flag of the call can say so.
#pragma once

#include <csignal>

namespace cistern::detail {

/// Keeps a signal (SIGPIPE, SIGXFSZ) from the calling thread until its end, when the signal mask is as
/// before. One that a write of this thread raises is taken back by `take_own`; those that somebody else sends
/// arrive, late at worst.
class signal_hold {
 public:
  explicit signal_hold(int number) noexcept;
  ~signal_hold();
  signal_hold(const signal_hold&) = delete;
  signal_hold& operator=(const signal_hold&) = delete;

  /// To be called when a write failed with the signal's error (EPIPE, EFBIG), where the thread can't be
  /// cancelled. Keeps `errno`.
  void take_own() const noexcept;

 private:
  sigset_t held_;
  sigset_t mask_before_;
  bool blocked_before_;
  bool pending_before_ = false;  // then ours was merged with it, and isn't ours to take
};

}  // namespace cistern::detail
