// export_command: cistern-trace export: a trace as a file for the viewers of other tools.
#pragma once

#include "invocation.hpp"

namespace CLI {
class App;
}

namespace cistern::tool {

/// Adds the subcommand; both must outlive the parsing.
void add_export_command(CLI::App& app, invocation& run);

}  // namespace cistern::tool
