#include "frame_names.hpp"

#include <cistern/detail/base/utf8.hpp>

#include <algorithm>
#include <array>
#include <optional>

#include "printable_text.hpp"

namespace cistern::tool {
namespace {

/// What is no UTF-8 becomes U+FFFD, byte by byte.
[[nodiscard]] std::string valid_utf8(std::string_view text) {
  std::string valid;
  while (!text.empty()) {
    const detail::decoded_utf8 decoded = detail::decode_utf8(text);
    std::array<char, 4> form{};
    valid.append(form.data(), detail::encode_utf8(decoded.character, form.data()));
    text.remove_prefix(decoded.bytes);
  }
  return valid;
}

}  // namespace

std::string frame_name::text() const {
  return module.empty() ? function : function + " in " + module.substr(module.rfind('/') + 1);
}

const frame_name& frame_names::of(const trace_place& place) {
  const auto [found, is_new] = names_.try_emplace({place.module, place.address});
  if (!is_new) return found->second;
  std::optional<std::string> function;
  if (place.module != 0) {
    const trace_module module = stacks_.module(place.module);
    const auto [symbols, is_new_module] = symbols_.try_emplace(place.module);
    if (is_new_module) symbols->second = elf_symbols(module.path, module.build_id);
    function = symbols->second.function_at(place.address);
    found->second.module = module_path(place.module);
  }
  found->second.is_known = function.has_value();
  found->second.function = function ? valid_utf8(printable(*function)) : "0x" + in_hexadecimal(place.address);
  return found->second;
}

std::string frame_names::module_path(std::uint64_t module) const {
  return valid_utf8(printable(stacks_.module(module).path));
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

bool frame_names::has(std::uint64_t stack, std::string_view part) {
  const auto places = stacks_.stack(stack);
  return std::any_of(places.begin(), places.end(), [&](const trace_place& place) {
    const frame_name& name = of(place);
    return name.function.find(part) != std::string::npos || name.module.find(part) != std::string::npos;
  });
}

}  // namespace cistern::tool
