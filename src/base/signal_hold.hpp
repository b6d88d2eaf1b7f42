// sigpipe_hold: writing to a pipe without SIGPIPE, where no flag of the call can say so.
#pragma once

#include <csignal>

namespace cistern::detail {

/// Keeps SIGPIPE from the calling thread until its end, when the signal mask is as before. One that a write
/// of this thread raises is taken back by `take_own`; those that somebody else sends arrive, late at worst.
class sigpipe_hold {
 public:
  sigpipe_hold() noexcept;
  ~sigpipe_hold();
  sigpipe_hold(const sigpipe_hold&) = delete;
  sigpipe_hold& operator=(const sigpipe_hold&) = delete;

  /// To be called when a write failed with EPIPE, where the thread can't be cancelled. Keeps `errno`.
  void take_own() const noexcept;

 private:
  sigset_t mask_before_;
  bool blocked_before_;
  bool pending_before_ = false;  // then ours was merged with it, and isn't ours to take
};

}  // namespace cistern::detail
