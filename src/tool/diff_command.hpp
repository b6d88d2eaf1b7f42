// diff_command: cistern-trace diff: what a change made more and less of, by two traces or two reports.
#pragma once

#include "invocation.hpp"

namespace CLI {
class App;
}

namespace cistern::tool {

/// Adds the subcommand; both must outlive the parsing.
void add_diff_command(CLI::App& app, invocation& run);

}  // namespace cistern::tool
