// invocation: one run of the tool: what it was started with, and what it ends with.
#pragma once

#include <string>
#include <vector>

namespace cistern::tool {

/// Who adds a subcommand to the command line gets one, and sets `status` when the subcommand was run.
struct invocation {
  std::vector<std::string> arguments;            ///< All, without the program's name.
  std::vector<std::string> program_arguments{};  ///< Of `record`: what stands behind PROGRAM.
  int status = 0;
};

}  // namespace cistern::tool
