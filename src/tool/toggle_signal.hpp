// toggle_signal: the signal by which who runs a recorded program pauses its recording, and lets it go on.
#pragma once

#include <string>

#include <sys/types.h>

namespace cistern::tool {

/// The number of a signal: USR2, SIGUSR2, RTMIN+3. Throws `usage_error` if there is none of that name, or if
/// it is one that can't be caught, or that says that the program is in trouble.
[[nodiscard]] int toggle_signal_from(const std::string& name);

/// As `kill` takes it.
[[nodiscard]] std::string signal_name(int signal);

/// From now on this process hands the signal on to `child`, so that one may be sent to either; 0: to nobody
/// yet.
void hand_on(int signal, pid_t child);

/// To be called in the child: until the recorder is there, the signal does nothing.
void ignore_until_exec(int signal);

}  // namespace cistern::tool
