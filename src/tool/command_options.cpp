#include "command_options.hpp"

#include <optional>

#include "size_text.hpp"
#include "usage_error.hpp"

namespace cistern::tool {

CLI::Option* add_size_option(CLI::App& command, const std::string& names, std::uint64_t& bytes,
                             const std::string& description, std::uint64_t least_bytes) {
  const std::string name = names.substr(names.rfind(',') + 1);
  const auto set = [name, &bytes, least_bytes](const std::string& text) {
    const std::optional<std::uint64_t> size = size_from_text(text);
    if (!size || *size < least_bytes)
      throw usage_error(name + " takes a size, as 4096, 64K, 100M or 2G: " + text);
    bytes = *size;
  };
  return command.add_option_function<std::string>(names, set, description)->type_name("SIZE");
}

void expect_alone(const CLI::App& command, const std::string& flag,
                  std::initializer_list<const char*> others) {
  if (command.get_option(flag)->count() == 0) return;
  for (const char* const other : others) {
    if (command.get_option(other)->count() != 0) {
      throw usage_error(std::string(other) + " does nothing beside " + flag);
    }
  }
}

CLI::Option* add_trace_argument(CLI::App& command, std::string& path) {
  return command
      .add_option("FILE", path,
                  "a trace, written by cistern-trace record or by\n"
                  "cistern::recording_adaptor; - means standard input")
      ->type_name("")
      ->required();
}

}  // namespace cistern::tool
