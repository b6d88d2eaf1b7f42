// print_command: cistern-trace print: a trace as text, a line for each call.
#pragma once

#include "invocation.hpp"

namespace CLI {
class App;
}

namespace cistern::tool {

/// Adds the subcommand; both must outlive the parsing.
void add_print_command(CLI::App& app, invocation& run);

}  // namespace cistern::tool
