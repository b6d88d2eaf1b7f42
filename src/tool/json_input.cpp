#include "json_input.hpp"

#include <stdexcept>

#if CISTERN_HAS_JSON
#include <nlohmann/json.hpp>
#endif

namespace cistern::tool {
namespace {

[[nodiscard]] bool is_of_the_kind(const std::string& text, [[maybe_unused]] const std::string& list) {
#if CISTERN_HAS_JSON
  const nlohmann::json whole = nlohmann::json::parse(text, nullptr, false);
  return whole.is_object() && whole.contains(list) && whole.at(list).is_array();
#else
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  return begin != std::string::npos && text[begin] == '{';
#endif
}

}  // namespace

void expect_json(const std::string& text, const std::string& list, const std::string& command,
                 const std::string& path) {
  if (is_of_the_kind(text, list)) return;
  throw std::runtime_error(path + " isn't what " + command + " --json writes: a JSON object with " + list);
}

}  // namespace cistern::tool
