#include "call_sites.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace cistern::tool {

detail::stack_site call_sites::site_of(std::uint64_t stack) {
  const std::optional<std::size_t> place = frames_.site_in(stack);
  const std::string name = place ? frames_.of(stacks_.stack(stack)[*place]).text() : "unknown";
  const auto [numbered, is_new] = numbers_.try_emplace(name, sites());
  if (is_new) names_.push_back(name);
  return {numbered->second, static_cast<std::uint32_t>(place.value_or(0))};
}

std::string brief_site_name(std::string_view name) {
  constexpr std::string_view unnamed = "(anonymous namespace)::";
  const std::string_view whole = name;
  std::string brief;
  int depth = 0;
  while (!name.empty()) {
    if (depth == 0 && name.starts_with(unnamed)) {
      name.remove_prefix(unnamed.size());
      continue;
    }
    const char c = name.front();
    name.remove_prefix(1);
    const bool opens = c == '<' || c == '(';
    const bool closes = c == '>' || c == ')';
    if (closes) depth = std::max(depth - 1, 0);
    if (depth == 0) brief += c;
    if (opens && depth++ == 0 && !name.starts_with(c == '<' ? '>' : ')')) brief += "...";
  }
  return depth == 0 ? brief : std::string(whole);  // An operator< is no bracket.
}

}  // namespace cistern::tool
