// advise_command: cistern-trace advise: whether a pool, or what else, would suit the program.
#pragma once

#include "invocation.hpp"

namespace CLI {
class App;
}

namespace cistern::tool {

/// Adds the subcommand; both must outlive the parsing.
void add_advise_command(CLI::App& app, invocation& run);

}  // namespace cistern::tool
