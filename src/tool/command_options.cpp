#include "command_options.hpp"

#include <optional>

#include "size_text.hpp"
#include "usage_error.hpp"

namespace cistern::tool {

CLI::Option* add_size_option(CLI::App& command, const std::string& names, std::uint64_t& bytes,
                             const std::string& description) {
  const std::string name = names.substr(names.rfind(',') + 1);
  const auto set = [name, &bytes](const std::string& text) {
    const std::optional<std::uint64_t> size = size_from_text(text);
    if (!size || *size == 0) throw usage_error(name + " takes a size, as 4096, 64K, 100M or 2G: " + text);
    bytes = *size;
  };
  return command.add_option_function<std::string>(names, set, description)->type_name("SIZE");
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
