// replay_command: cistern-trace replay: performs a trace on several resources, and says what each comes to.
#pragma once

#include <string>
#include <vector>

namespace cistern::tool {

/// `arguments`: what stands behind "replay". Returns the exit status. Throws `usage_error`, and what reading
/// a trace throws.
[[nodiscard]] int replay(const std::vector<std::string>& arguments);

}  // namespace cistern::tool
