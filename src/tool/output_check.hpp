// output_check: no command writes over what it reads.
#pragma once

#include <string>
#include <vector>

namespace cistern::tool {

/// A file, and what the command line's help calls it. None if `path` is empty.
struct named_path {
  std::string name;
  std::string path;
};

/// Throws `usage_error` if an output is the same file as an input or as another output, whatever the paths
/// are. An input - is standard input. Devices may be both.
void check_outputs(const std::vector<named_path>& inputs, const std::vector<named_path>& outputs);

}  // namespace cistern::tool
