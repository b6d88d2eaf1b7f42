// replay_command: cistern-trace replay: performs a trace on several resources, and says what each comes to.
#pragma once

#include "invocation.hpp"

namespace CLI {
class App;
}

namespace cistern::tool {

/// Adds the subcommand; both must outlive the parsing.
void add_replay_command(CLI::App& app, invocation& run);

}  // namespace cistern::tool
