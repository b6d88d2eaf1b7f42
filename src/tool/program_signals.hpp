// program_signals: what is sent to this process while it runs a program is for the program.
#pragma once

#include <array>
#include <csignal>

#include <sys/types.h>

namespace cistern::tool {

/// While one lives, keys (SIGINT, SIGQUIT), which a terminal sends to the program as well, don't end this
/// process; SIGTERM and SIGHUP, unless ignored, and a signal that toggles are handed on. Afterwards all is as
/// it was, but that the signal that toggles does nothing. One at a time; there is one thread.
class program_signals {
 public:
  /// Until there is a program, signals wait. `toggle_signal`: 0 if there is none.
  explicit program_signals(int toggle_signal);
  ~program_signals();
  program_signals(const program_signals&) = delete;
  program_signals& operator=(const program_signals&) = delete;

  /// In the child: all is as it was, but that until the recorder is there the signal that toggles does
  /// nothing.
  void are_childs() const;

  /// In the parent.
  void are_for(pid_t program);

 private:
  static constexpr std::array<int, 4> ending = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};

  int toggle_signal_;
  sigset_t mask_before_{};
  std::array<struct sigaction, ending.size()> actions_before_{};
};

}  // namespace cistern::tool
