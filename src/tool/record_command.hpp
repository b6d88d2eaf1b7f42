// record_command: cistern-trace record: runs a program with libcistern-record.so preloaded, and says what
// came of it.
#pragma once

#include <string>
#include <vector>

namespace cistern::tool {

/// What `cistern-trace record --help` prints.
extern const char* const record_usage;

/// `arguments`: what stands behind "record". Returns the exit status. Throws `usage_error`.
[[nodiscard]] int record(const std::vector<std::string>& arguments);

}  // namespace cistern::tool
