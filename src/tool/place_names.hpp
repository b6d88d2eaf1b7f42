// place_names: the places and stacks of a trace, as people call them.
#pragma once

#include <cistern/adaptor/trace_stacks.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "elf_symbols.hpp"

namespace cistern::tool {

/// Stands for all that isn't known.
inline const std::string unknown_place = "(unknown)";

/// Names each place once: by its function where the module's file is still there and has symbols, else by the
/// module and the address. Names are valid UTF-8 without control characters. Not thread-safe.
class place_names {
 public:
  /// `stacks` must outlive it, with all that is looked up.
  explicit place_names(const trace_stacks& stacks) : stacks_(stacks) {}

  /// The number of its name, from 0.
  [[nodiscard]] std::uint32_t number_of(const trace_place& place);
  /// That of a name which stands for no place.
  [[nodiscard]] std::uint32_t number_of(const std::string& name);
  /// From where the program called: the innermost place that isn't the languages' libraries' own, by its
  /// name's number.
  [[nodiscard]] std::uint32_t site_of(std::uint64_t stack);
  /// All names, by number.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }

 private:
  [[nodiscard]] std::string name_of(const trace_place& place);

  const trace_stacks& stacks_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::uint32_t> numbers_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> places_;
  std::unordered_map<std::uint64_t, elf_symbols> modules_;
};

/// Whether a function is of the standard library or allocates for it; `name` as it was demangled.
[[nodiscard]] bool is_of_standard_library(std::string_view name);

/// Valid UTF-8 without control characters: what is neither becomes U+FFFD.
[[nodiscard]] std::string clean_text(std::string_view text);

}  // namespace cistern::tool
