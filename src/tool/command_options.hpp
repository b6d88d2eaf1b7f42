// command_options: options that several subcommands have.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include <CLI/App.hpp>

namespace cistern::tool {

/// An option that takes a size, as `size_from_text` reads it, into `bytes`, which must outlive `command`.
CLI::Option* add_size_option(CLI::App& command, const std::string& names, std::uint64_t& bytes,
                             const std::string& description, std::uint64_t least_bytes = 1);

/// Throws `usage_error` where `flag` was given and one of `others`, which would do nothing then.
void expect_alone(const CLI::App& command, const std::string& flag,
                  std::initializer_list<const char*> others);

/// The trace that a subcommand reads: a path, or - for standard input.
CLI::Option* add_trace_argument(CLI::App& command, std::string& path);

}  // namespace cistern::tool
