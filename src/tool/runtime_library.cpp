#include "runtime_library.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace cistern::tool {
namespace {

constexpr std::array<std::string_view, 12> runtime_files = {
    "libc.so",   "libc-",   "libc.musl-", "libstdc++.so", "libc++.so", "libc++abi.so",
    "libgcc_s.", "libm.so", "libpthread", "ld-linux-",    "ld-musl-",  "libcistern-record"};
constexpr std::array<std::string_view, 4> runtime_functions = {"std::", "__gnu_cxx::", "operator new",
                                                               "operator delete"};

template <std::size_t N>
[[nodiscard]] bool begins_with_one(std::string_view text, const std::array<std::string_view, N>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [text](std::string_view each) { return text.starts_with(each); });
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

}  // namespace

bool is_of_runtime_library(std::string_view function, std::string_view path) {
  return begins_with_one(path.substr(path.rfind('/') + 1), runtime_files) ||
         begins_with_one(without_result(function), runtime_functions);
}

}  // namespace cistern::tool
