// json_input: what another command has written as JSON, before a page takes it as it is.
#pragma once

#include <string>

namespace cistern::tool {

/// Throws `std::runtime_error` unless `text`, which came from `path`, is a JSON object with an array named
/// `list`, as `cistern-trace COMMAND --json` writes it. Where the tools were built without what reads JSON,
/// only looks how it begins.
void expect_json(const std::string& text, const std::string& list, const std::string& command,
                 const std::string& path);

}  // namespace cistern::tool
