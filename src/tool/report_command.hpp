// report_command: cistern-trace report: a trace as a page to look at and to send.
#pragma once

#include "invocation.hpp"

namespace CLI {
class App;
}

namespace cistern::tool {

/// Adds the subcommand; both must outlive the parsing.
void add_report_command(CLI::App& app, invocation& run);

}  // namespace cistern::tool
