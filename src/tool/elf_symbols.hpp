// elf_symbols: the names of functions, by the symbols of a program's or library's file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cistern::tool {

/// The functions of a file, by address; without its symbols, those that it exports. Reads the file alone, no
/// debugging information: a function that the compiler put into another has that one's name.
class elf_symbols {
 public:
  /// Of no file: knows no name.
  elf_symbols() = default;
  /// Knows no name where the file can't be read, is no ELF file of this processor's kind, or, if `build_id`
  /// isn't empty, has another one. Looks into /usr/lib/debug, too. Throws `std::bad_alloc`.
  elf_symbols(std::string_view path, std::span<const std::byte> build_id);

  /// The name of the function at an address of the file, as people write it; none where it isn't known.
  [[nodiscard]] std::optional<std::string> function_at(std::uint64_t address) const;

 private:
  struct function {
    std::uint64_t begin;
    std::uint64_t end;
    std::size_t name;  // Where it begins in `names_`.
  };

  void read(std::span<const std::byte> file);
  void sort();

  std::vector<function> functions_;  // By address.
  std::string names_;                // Each ended by a zero.
};

}  // namespace cistern::tool
