// child_output: what a fork of this process writes.
#pragma once

#include <functional>
#include <string>

namespace cistern::tool {

struct child_output {
  std::string text;
  int status = 0;  ///< As `waitpid` has it.
};

/// Runs `work` in a fork of this process, with the descriptor that is read from here; the fork ends with it,
/// and fails if it returns. Waits for its end. Throws `std::system_error`.
[[nodiscard]] child_output output_of_child(const std::function<void(int output)>& work);

}  // namespace cistern::tool
