#include "elf_symbols.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string_view>
#include <system_error>

#include <cxxabi.h>
#include <elf.h>

namespace cistern::tool {
namespace {

/// Larger files are left alone: they are read into memory.
constexpr std::streamoff most_file_bytes = std::streamoff{1} << 30;

[[nodiscard]] std::vector<std::byte> contents_of(const std::string& path) {
  // A trace may name anything: what is no regular file could keep us waiting.
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return {};
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return {};
  const std::streamoff bytes = in.tellg();
  if (bytes <= 0 || bytes > most_file_bytes) return {};
  std::vector<std::byte> contents(static_cast<std::size_t>(bytes));
  in.seekg(0);
  if (!in.read(reinterpret_cast<char*>(contents.data()), bytes)) return {};
  return contents;
}

/// A part of the file; empty where it has none such.
[[nodiscard]] std::span<const std::byte> part(std::span<const std::byte> file, std::uint64_t begin,
                                              std::uint64_t bytes) noexcept {
  if (begin > file.size() || bytes > file.size() - begin) return {};
  return file.subspan(begin, bytes);
}

/// One of a table of records. Precondition: it lies within `table`.
template <class Record>
[[nodiscard]] Record record_in(std::span<const std::byte> table, std::size_t number) noexcept {
  Record record;
  std::memcpy(&record, &table[number * sizeof(Record)], sizeof record);
  return record;
}

/// The sections of a file; none if it is no ELF file.
[[nodiscard]] std::vector<Elf64_Shdr> sections_of(std::span<const std::byte> file) {
  if (file.size() < sizeof(Elf64_Ehdr)) return {};
  const auto header = record_in<Elf64_Ehdr>(file, 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_shentsize != sizeof(Elf64_Shdr)) {
    return {};
  }
  const auto table = part(file, header.e_shoff, std::uint64_t{header.e_shnum} * sizeof(Elf64_Shdr));
  std::vector<Elf64_Shdr> sections;
  for (std::size_t i = 0; i < table.size() / sizeof(Elf64_Shdr); ++i) {
    sections.push_back(record_in<Elf64_Shdr>(table, i));
  }
  return sections;
}

/// Whether one of the file's notes is that build id.
[[nodiscard]] bool has_build_id(std::span<const std::byte> file, std::span<const std::byte> build_id) {
  for (const Elf64_Shdr& section : sections_of(file)) {
    if (section.sh_type != SHT_NOTE) continue;
    const auto notes = part(file, section.sh_offset, section.sh_size);
    if (std::search(notes.begin(), notes.end(), build_id.begin(), build_id.end()) != notes.end()) return true;
  }
  return false;
}

/// Where a distribution puts what it has stripped; empty for no build id.
[[nodiscard]] std::string debug_file_of(std::span<const std::byte> build_id) {
  constexpr std::string_view digits = "0123456789abcdef";
  if (build_id.size() < 2) return {};
  std::string path = "/usr/lib/debug/.build-id/";
  for (std::size_t i = 0; i < build_id.size(); ++i) {
    if (i == 1) path += '/';
    path += digits[static_cast<unsigned>(build_id[i]) >> 4];
    path += digits[static_cast<unsigned>(build_id[i]) & 15];
  }
  return path + ".debug";
}

[[nodiscard]] std::string as_people_write(const char* name) {
  if (!std::string_view(name).starts_with("_Z")) return name;  // Else a function f would be a float.
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                    std::free);
  return status == 0 ? text.get() : name;
}

}  // namespace

elf_symbols::elf_symbols(std::string_view path, std::span<const std::byte> build_id) {
  for (const std::string& each : {std::string(path), debug_file_of(build_id)}) {
    if (each.empty()) continue;
    const std::vector<std::byte> file = contents_of(each);
    if (build_id.empty() || has_build_id(file, build_id)) read(file);
  }
  sort();
}

void elf_symbols::read(std::span<const std::byte> file) {
  const std::vector<Elf64_Shdr> sections = sections_of(file);
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM) continue;
    if (section.sh_link >= sections.size()) continue;
    const auto symbols = part(file, section.sh_offset, section.sh_size);
    const Elf64_Shdr& of_names = sections[section.sh_link];
    const auto names = part(file, of_names.sh_offset, of_names.sh_size);
    if (names.empty() || names.back() != std::byte{0}) continue;
    const auto* const text = reinterpret_cast<const char*>(names.data());
    for (std::size_t i = 0; i < symbols.size() / sizeof(Elf64_Sym); ++i) {
      const auto symbol = record_in<Elf64_Sym>(symbols, i);
      const unsigned kind = ELF64_ST_TYPE(symbol.st_info);
      if ((kind != STT_FUNC && kind != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF) continue;
      if (symbol.st_name >= names.size()) continue;
      functions_.push_back({symbol.st_value, symbol.st_value + symbol.st_size, names_.size()});
      names_.append(text + symbol.st_name).push_back('\0');
    }
  }
}

void elf_symbols::sort() {
  std::stable_sort(functions_.begin(), functions_.end(),
                   [](const function& a, const function& b) { return a.begin < b.begin; });
}

std::optional<std::string> elf_symbols::function_at(std::uint64_t address) const {
  auto next = std::upper_bound(functions_.begin(), functions_.end(), address,
                               [](std::uint64_t at, const function& each) { return at < each.begin; });
  if (next == functions_.begin()) return std::nullopt;
  --next;
  if (address >= next->end && next->begin != address) return std::nullopt;
  return as_people_write(&names_[next->name]);
}

}  // namespace cistern::tool
