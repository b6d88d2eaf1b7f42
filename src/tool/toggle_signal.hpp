// toggle_signal: the signal by which who runs a recorded program pauses its recording, and lets it go on.
#pragma once

#include <string>

namespace cistern::tool {

/// The number of a signal: USR2, SIGUSR2, RTMIN+3. Throws `usage_error` if there is none of that name, or if
/// it is one that can't be caught, or that says that the program is in trouble.
[[nodiscard]] int toggle_signal_from(const std::string& name);

/// As `kill` takes it.
[[nodiscard]] std::string signal_name(int signal);

}  // namespace cistern::tool
