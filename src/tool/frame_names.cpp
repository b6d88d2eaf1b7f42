#include "frame_names.hpp"

#include <algorithm>

#include "printable_text.hpp"
#include "runtime_library.hpp"

namespace cistern::tool {
namespace {

[[nodiscard]] std::string file_of(const std::string& module) {
  return module.substr(module.rfind('/') + 1);
}

}  // namespace

std::string frame_name::text() const {
  return module.empty() ? function : function + " in " + file_of(module);
}

std::string frame_name::brief_text() const {
  return module.empty() || is_known ? function : file_of(module) + "+" + function;
}

const frame_name& frame_names::of(const trace_place& place) {
  const auto [found, is_new] = names_.try_emplace({place.module, place.address});
  frame_name& name = found->second;
  if (!is_new) return name;
  std::optional<std::string> function;
  if (place.module != 0) {
    const trace_module module = stacks_.module(place.module);
    const auto [symbols, is_new_module] = symbols_.try_emplace(place.module);
    if (is_new_module) symbols->second = elf_symbols(module.path, module.build_id);
    function = symbols->second.function_at(place.address);
    name.module = module_path(place.module);
  }
  name.is_known = function.has_value();
  name.is_of_runtime = is_of_runtime_library(function.value_or(""), name.module);
  name.function = function                 ? printable(*function)
                  : place == trace_place{} ? unknown_place
                                           : "0x" + in_hexadecimal(place.address);
  return name;
}

std::string frame_names::module_path(std::uint64_t module) const {
  return printable(stacks_.module(module).path);
}

std::string frame_names::build_id(std::uint64_t module) const {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::byte each : stacks_.module(module).build_id) {
    text += digits[std::to_integer<unsigned>(each) >> 4];
    text += digits[std::to_integer<unsigned>(each) & 15];
  }
  return text;
}

std::string frame_names::stack_text(std::uint64_t stack) {
  std::string text;
  for (const trace_place& place : stacks_.stack(stack)) text += of(place).text() + '\n';
  return text;
}

std::optional<std::size_t> frame_names::site_in(std::uint64_t stack) {
  const auto places = stacks_.stack(stack);
  const auto found = std::find_if(places.begin(), places.end(),
                                  [&](const trace_place& each) { return !of(each).is_of_runtime; });
  if (found == places.end()) return std::nullopt;
  return static_cast<std::size_t>(found - places.begin());
}

bool frame_names::has(std::uint64_t stack, std::string_view part) {
  const auto places = stacks_.stack(stack);
  return std::any_of(places.begin(), places.end(), [&](const trace_place& place) {
    const frame_name& name = of(place);
    return name.function.find(part) != std::string::npos || name.module.find(part) != std::string::npos;
  });
}

}  // namespace cistern::tool
