// record_command: cistern-trace record: runs a program with libcistern-record.so preloaded, and says what
// came of it.
#pragma once

#include <string>
#include <vector>

#include "invocation.hpp"

namespace CLI {
class App;
}

namespace cistern::tool {

/// Adds the subcommand; both must outlive the parsing.
void add_record_command(CLI::App& app, invocation& run);

/// Takes from `arguments`, which are those of record, what stands behind PROGRAM, and returns it: that is the
/// program's own, whatever it looks like. What is left has "--" before PROGRAM. Throws `usage_error`.
[[nodiscard]] std::vector<std::string> take_program_arguments(const CLI::App& app,
                                                              std::vector<std::string>& arguments);

}  // namespace cistern::tool
