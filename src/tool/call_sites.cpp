#include "call_sites.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

namespace cistern::tool {
namespace {

[[nodiscard]] bool is_runtime(std::string_view file) {
  constexpr std::array<std::string_view, 9> prefixes = {"libc.so",   "libc-",        "libstdc++.so",
                                                        "libc++.so", "libc++abi.so", "libgcc_s.",
                                                        "ld-linux-", "libm.so",      "libcistern-record"};
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view each) { return file.starts_with(each); });
}

/// Without what a template returns, which stands in front of its name.
[[nodiscard]] std::string_view without_result(std::string_view function) {
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i < function.size(); ++i) {
    const char c = function[i];
    if (depth == 0 && c == '(' && i > begin && function[i - 1] != ':') break;  // What it takes.
    if (depth == 0 && c == ' ' && !function.substr(0, i).ends_with("operator")) begin = i + 1;
    if (c == '<' || c == '(') ++depth;
    if (c == '>' || c == ')') --depth;
  }
  return function.substr(begin);
}

[[nodiscard]] bool is_standard(std::string_view function) {
  const std::string_view name = without_result(function);
  constexpr std::array<std::string_view, 4> prefixes = {"std::", "__gnu_cxx::", "operator new",
                                                        "operator delete"};
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view each) { return name.starts_with(each); });
}

/// Whether allocations are made for it, and not by it for its caller.
[[nodiscard]] bool is_site(const frame_name& frame) {
  return !is_runtime(std::string_view(frame.module).substr(frame.module.rfind('/') + 1)) &&
         !is_standard(frame.function);
}

}  // namespace

detail::stack_site call_sites::site_of(std::uint64_t stack) {
  const std::span<const trace_place> places = stacks_.stack(stack);
  const auto found = std::find_if(places.begin(), places.end(),
                                  [&](const trace_place& each) { return is_site(frames_.of(each)); });
  const std::string name = found == places.end() ? "unknown" : frames_.of(*found).text();
  const auto [numbered, is_new] = numbers_.try_emplace(name, sites());
  if (is_new) names_.push_back(name);
  return {numbered->second, found == places.end() ? 0 : static_cast<std::uint32_t>(found - places.begin())};
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
