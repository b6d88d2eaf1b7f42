#include "place_names.hpp"

#include <cistern/detail/base/utf8.hpp>

#include <algorithm>
#include <array>

#include "printable_text.hpp"

namespace cistern::tool {
namespace {

constexpr std::size_t longest_name_bytes = 400;
constexpr std::size_t longest_file_name_bytes = 100;

[[nodiscard]] std::string_view file_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

[[nodiscard]] bool is_language_library(std::string_view path) {
  constexpr std::array<std::string_view, 6> libraries = {
      "libstdc++.so", "libc++.so", "libc++abi.so", "libc.so", "libc.musl-", "libcistern-record.so"};
  const std::string_view name = file_name(path);
  return std::any_of(libraries.begin(), libraries.end(),
                     [&](std::string_view each) { return name.starts_with(each); });
}

/// "void std::vector<int>::f<int>(int)" is "void std::vector::f".
[[nodiscard]] std::string without_arguments(std::string_view name) {
  std::string text;
  unsigned depth = 0;
  for (const char each : name) {
    if (each == '(' && depth == 0) break;
    if (each == '<') ++depth;
    if (depth == 0) text += each;
    if (each == '>' && depth != 0) --depth;
  }
  return text;
}

}  // namespace

bool is_of_standard_library(std::string_view name) {
  if (name.starts_with("operator new") || name.starts_with("operator delete")) return true;
  const std::string text = without_arguments(name);
  const std::string_view function = std::string_view(text).substr(text.rfind(' ') + 1);
  return function.starts_with("std::") || function.starts_with("__gnu_cxx::");
}

std::string clean_text(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const detail::decoded_utf8 decoded = detail::decode_utf8(text);
    const bool is_control =
        decoded.character < U' ' || (decoded.character >= U'\x7F' && decoded.character < U'\xA0');
    char encoded[4];
    const std::size_t bytes =
        detail::encode_utf8(is_control ? detail::replacement_character : decoded.character, encoded);
    clean.append(encoded, bytes);
    text.remove_prefix(decoded.bytes);
  }
  return clean;
}

std::uint32_t place_names::number_of(const std::string& name) {
  const auto [found, is_new] = numbers_.try_emplace(name, static_cast<std::uint32_t>(names_.size()));
  if (is_new) names_.push_back(name);
  return found->second;
}

std::uint32_t place_names::number_of(const trace_place& place) {
  const auto [found, is_new] = places_.try_emplace({place.module, place.address}, 0);
  if (is_new) found->second = number_of(name_of(place));
  return found->second;
}

std::string place_names::name_of(const trace_place& place) {
  const std::string address = "0x" + in_hexadecimal(place.address);
  if (place.module == 0) return address;
  const trace_module module = stacks_.module(place.module);
  const auto [found, is_new] = modules_.try_emplace(place.module);
  if (is_new) found->second = elf_symbols(module.path, module.build_id);
  if (const auto name = found->second.function_at(place.address)) {
    return clean_text(name->substr(0, longest_name_bytes));
  }
  return clean_text(file_name(module.path).substr(0, longest_file_name_bytes)) + "+" + address;
}

std::uint32_t place_names::site_of(std::uint64_t stack) {
  const std::span<const trace_place> places = stacks_.stack(stack);
  if (places.empty()) return number_of(unknown_place);
  for (const trace_place& place : places) {
    if (place.module != 0 && is_language_library(stacks_.module(place.module).path)) continue;
    const std::uint32_t number = number_of(place);
    if (!is_of_standard_library(names_[number])) return number;
  }
  return number_of(places.front());
}

}  // namespace cistern::tool
