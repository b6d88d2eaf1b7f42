// frame_names: the places of a trace's stacks, as people call them.
#pragma once

#include <cistern/adaptor/trace_stacks.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "elf_symbols.hpp"

namespace cistern::tool {

/// Stands for all that isn't known.
inline const std::string unknown_place = "(unknown)";

/// Both are valid UTF-8 without control characters.
struct frame_name {
  /// "0x1234", its address in the module, where it isn't known; `unknown_place` without an address, too.
  std::string function;
  bool is_known = false;
  bool is_of_runtime = false;  ///< The C or C++ library's own: allocates for its caller.
  std::string module;          ///< The path of its file; empty where it is in none that is known.

  /// "std::map<...>::insert in prog", "0x1234 in libx.so", "0x7f0012345678".
  [[nodiscard]] std::string text() const;
  /// "std::map<...>::insert", "libx.so+0x1234", "0x7f0012345678".
  [[nodiscard]] std::string brief_text() const;
};

/// Reads the symbols of a module's file when the first place in it is asked for. Not thread-safe.
class frame_names {
 public:
  /// The stacks must outlive it; they may grow.
  explicit frame_names(const trace_stacks& stacks) : stacks_(stacks) {}

  [[nodiscard]] const frame_name& of(const trace_place& place);
  /// Of its file, as a name has it. Precondition: there is such a module.
  [[nodiscard]] std::string module_path(std::uint64_t module) const;
  /// In hexadecimal; empty where it has none. Precondition: likewise.
  [[nodiscard]] std::string build_id(std::uint64_t module) const;
  /// The texts of a stack's places, each ended by a newline: equal for the same functions, wherever they lie.
  [[nodiscard]] std::string stack_text(std::uint64_t stack);
  /// From where the program called: the index of the innermost of a stack's places that isn't a runtime
  /// library's; none if all are.
  [[nodiscard]] std::optional<std::size_t> site_in(std::uint64_t stack);
  /// Whether the function's name or the module's path of one of its places has `part` in it.
  [[nodiscard]] bool has(std::uint64_t stack, std::string_view part);

 private:
  const trace_stacks& stacks_;
  std::map<std::uint64_t, elf_symbols> symbols_;  // By module.
  std::map<std::pair<std::uint64_t, std::uint64_t>, frame_name> names_;
};

}  // namespace cistern::tool
